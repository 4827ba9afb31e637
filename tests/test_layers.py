"""The structure of the package: who may import whom, and where the private sides of dependencies may be touched."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[1] / "zvonim_sfu"
PACKAGE: Final = ROOT.name
MAX_LINES: Final = 400

# The top first; modules that stand in the package itself are above all of these.
LAYERS: Final = ("", "signaling", "rooms", "media", "net", "bandwidth", "rtp")

# The only modules that may know what these promise to nobody.
QUARANTINE: Final = {"aiortc": "media/ortc.py", "aioice": "net/ice.py", "pylibsrtp": "net/srtp.py"}

# What would make bytes-in, bytes-out code depend on more than its arguments.
IMPURE: Final = frozenset(
    ("asyncio", "datetime", "logging", "os", "random", "secrets", "socket", "structlog", "threading", "time")
)


class Import(NamedTuple):
    module: str
    name: str | None
    line: int
    for_types_only: bool


class Module:
    """A module of the package, parsed."""

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text()
        self.tree = ast.parse(self.text)
        self.layer = LAYERS.index(self.name.rpartition("/")[0].partition("/")[0])

    def imports(self) -> list[Import]:
        types_only = {
            id(inner)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [Import(alias.name, None, node.lineno, id(node) in types_only) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}:{node.lineno}: a relative import"
                module = node.module or ""
                found += [Import(module, alias.name, node.lineno, id(node) in types_only) for alias in node.names]
        return found

    def private_names(self) -> set[str]:
        """Names with an underscore that this module gives to things of its own."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
                names.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # __slots__
                names.add(node.value)
        return names


MODULES: Final = [Module(path) for path in sorted(ROOT.rglob("*.py"))]
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


@each_module
def test_imports_only_point_down(module: Module) -> None:
    for imported in module.imports():
        if not imported.module.startswith(f"{PACKAGE}."):
            continue
        layer = imported.module.split(".")[1]
        target = LAYERS.index(layer) if layer in LAYERS else 0
        assert target >= module.layer, f"{module.name}:{imported.line} imports {imported.module} from above"


@each_module
def test_a_module_is_short_enough_to_read(module: Module) -> None:
    assert len(module.text.splitlines()) <= MAX_LINES


@each_module
def test_a_dependency_with_a_private_side_has_one_module_that_imports_it(module: Module) -> None:
    for imported in module.imports():
        home = QUARANTINE.get(imported.module.partition(".")[0], module.name)
        assert home == module.name or imported.for_types_only, (
            f"{module.name}:{imported.line} imports {imported.module}, which is for {home}"
        )


@each_module
def test_private_names_of_others_are_left_alone(module: Module) -> None:
    if module.name in QUARANTINE.values():
        return
    for imported in module.imports():
        private = any(_is_private(part) for part in imported.module.split(".")) or _is_private(imported.name)
        assert not private, f"{module.name}:{imported.line} imports {imported.module}.{imported.name}"
    own = module.private_names()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            assert node.attr in own, f"{module.name}:{node.lineno} reaches for {ast.unparse(node)}"


PURE: Final = [module for module in MODULES if module.name.startswith(("rtp/", "bandwidth/"))]


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.name)
def test_what_is_pure_has_no_clock_and_no_io(module: Module) -> None:
    for imported in module.imports():
        assert imported.module.partition(".")[0] not in IMPURE, f"{module.name}:{imported.line} {imported.module}"


def test_the_rules_see_something() -> None:
    assert {module.layer for module in MODULES} == set(range(len(LAYERS)))
    for home in QUARANTINE.values():
        assert any(module.name == home for module in MODULES)


def _is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name.isidentifier()


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}
