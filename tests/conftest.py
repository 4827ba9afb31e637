"""What holds for every test: the order of the suites and hypothesis' manners on a shared machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

BROWSER: Final = Path(__file__).parent / "browser"

# A deadline per example measures the neighbours' load, not the code; pytest-timeout ends what hangs.
settings.register_profile("zvonim", deadline=None)
settings.load_profile("zvonim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser tests last: what fails in a second is not to wait for what takes minutes."""
    items.sort(key=lambda item: BROWSER in item.path.parents)
