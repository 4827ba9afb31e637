"""The modules that are compiled as they stand: which they are, and how to import their sources all the same."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ROOT: Final = Path(__file__).parents[2]


def sources() -> dict[str, Path]:
    """Return the source of each by the module's name: what has a .pxd, and is no .pyx."""
    beside = (path.with_suffix(".py") for path in ROOT.glob("zvonim_sfu/*/*.pxd"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in beside
        if path.exists() and not path.with_suffix(".pyx").exists()
    }


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._sources = sources()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        source = self._sources.get(fullname)
        return None if source is None else spec_from_file_location(fullname, source)


def import_from_sources() -> None:
    """Have this process import them as Python; to be called before any of them is imported."""
    sys.meta_path.insert(0, _Finder())


def outdated() -> Iterator[Path]:
    """Yield compiled modules, of whatever kind, that are older than what they were made of."""
    for compiled in ROOT.glob("zvonim_sfu/*/*.so"):
        source = compiled.with_name(compiled.name.partition(".")[0])
        made_of = (source.with_suffix(suffix) for suffix in (".pyx", ".pxd", ".py"))
        if any(path.exists() and path.stat().st_mtime > compiled.stat().st_mtime for path in made_of):
            yield compiled
