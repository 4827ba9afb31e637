"""What holds for every test: order, the kernel, and hypothesis' manners on a shared machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.support import as_they_stand

BROWSER: Final = Path(__file__).parent / "browser"

# A deadline per example measures the neighbours' load, not the code; pytest-timeout ends what hangs.
settings.register_profile("zvonim", deadline=None)
settings.load_profile("zvonim")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let whole suites run on the kernel that serves where there is no compiler."""
    parser.addoption("--kernel", choices=("auto", "python"), default="auto", help="which packet kernel there is")


def pytest_configure(config: pytest.Config) -> None:
    """Hide the compiled kernel, from this process and from servers that tests start; refuse one that is outdated."""
    if found := list(as_they_stand.outdated()):
        names = ", ".join(path.name for path in found)
        raise pytest.UsageError(f"older than their sources: {names}; `make .venv/.installed-dev` compiles them again")
    if config.getoption("kernel") == "python":
        os.environ["ZVONIM_KERNEL"] = "python"
        sys.modules["zvonim_sfu.net.sending_compiled"] = None  # type: ignore[assignment] # an import of it fails
        as_they_stand.import_from_sources()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser tests last: what fails in a second is not to wait for what takes minutes.

    What takes a minute comes first: of two processes, one takes these, and the other all the rest.
    """
    items.sort(key=lambda item: (BROWSER in item.path.parents, item.get_closest_marker("minute") is None))
