"""Compiles the packet kernel when the package is installed or built; where that fails, its Python twin serves.

An installation must not need a compiler, so a failure is told and is no error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from Cython.Build import cythonize
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension

MODULE: Final = "zvonim_sfu.net.kernel_compiled"


class KernelBuildHook(BuildHookInterface[Any]):
    """Adds the compiled module to the wheel, or puts it beside its source for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the source tree, where an up-to-date module is left as it is (called by hatchling)."""
        try:
            built = compile_kernel(Path(self.root))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a compiler that is not there may raise
            self.app.display_warning(f"The packet kernel was not compiled, its Python twin will be used: {error}")
            return
        build_data["artifacts"].append(f"/{built}")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compile_kernel(root: Path, flags: tuple[str, ...] = ()) -> str:
    """Compile the kernel below `root` with further `flags` of the compiler and linker; returns the module's path."""
    source = MODULE.replace(".", "/") + ".pyx"
    extension = Extension(MODULE, [source], extra_compile_args=["-O3", *flags], extra_link_args=list(flags))
    here = Path.cwd()
    os.chdir(root)
    try:
        (extension,) = cythonize([extension], build_dir="build", quiet=True)  # type: ignore[no-untyped-call]
        command = Distribution({"name": "zvonim-sfu", "ext_modules": [extension]}).get_command_obj("build_ext")
        command.inplace = True
        command.ensure_finalized()
        command.run()
        return str(Path(command.get_ext_fullpath(MODULE)).relative_to(root))
    finally:
        os.chdir(here)
