"""Compiles the packet kernel when the package is installed or built; where that fails, its Python twin serves.

An installation must not need a compiler, so a failure is told and is no error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from Cython.Build import cythonize
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULES: Final = (
    "zvonim_sfu.rtp.packet_compiled",
    "zvonim_sfu.rtp.intake_compiled",
    "zvonim_sfu.rtp.vp8_compiled",
    "zvonim_sfu.rtp.h264_compiled",
    "zvonim_sfu.rtp.arrivals_compiled",
    "zvonim_sfu.net.system",
    "zvonim_sfu.net.sending_compiled",
    "zvonim_sfu.net.fan_out_compiled",
    "zvonim_sfu.net.receiving_compiled",
    "zvonim_sfu.net.selector_compiled",
    # As they stand: there is no twin, and a .pxd beside each says which values are C's.
    "zvonim_sfu.rtp.transport_chunks",
    "zvonim_sfu.bandwidth.groups",
    "zvonim_sfu.bandwidth.queueing",
    "zvonim_sfu.bandwidth.reports",
    "zvonim_sfu.bandwidth.throughput",
    "zvonim_sfu.bandwidth.trendline",
)
# Without the second, a product and a sum may be rounded once, where there is an instruction for that (aarch64):
# a recorded trace is to be replayed to the last bit wherever that is done.
FLAGS: Final = ("-O3", "-ffp-contract=off")
# Types are what a .pxd or a cdef says: an annotation `int` is Python's.
DIRECTIVES: Final = {"language_level": "3", "annotation_typing": False}


class KernelBuildHook(BuildHookInterface[Any]):
    """Adds the compiled modules to the wheel, or puts them beside their sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the source tree, where what is up to date is left as it is (called by hatchling)."""
        try:
            built = compile_kernel(Path(self.root))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a compiler that is not there may raise
            self.app.display_warning(f"The packet kernel was not compiled, its Python twin will be used: {error}")
            return
        build_data["artifacts"] += [f"/{module}" for module in built]
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compile_kernel(root: Path, flags: Sequence[str] = ()) -> list[str]:
    """Compile the kernel below `root` with further `flags` of the compiler and linker; returns the modules' paths."""
    extensions = [
        Extension(module, [_source(root, module)], extra_compile_args=[*FLAGS, *flags], extra_link_args=list(flags))
        for module in MODULES
    ]
    here = Path.cwd()
    os.chdir(root)
    try:
        extensions = cythonize(  # type: ignore[no-untyped-call]
            extensions, build_dir="build", quiet=True, compiler_directives=DIRECTIVES
        )
        command = Distribution({"name": "zvonim-sfu", "ext_modules": extensions}).get_command_obj("build_ext")
        command.inplace = True
        command.parallel = os.cpu_count()  # a compiler each: on two cores 40 s instead of 75
        command.ensure_finalized()
        command.run()
        return [str(Path(command.get_ext_fullpath(module)).relative_to(root)) for module in MODULES]
    finally:
        os.chdir(here)


def _source(root: Path, module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}.pyx" if (root / f"{path}.pyx").exists() else f"{path}.py"
