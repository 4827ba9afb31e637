"""Chooses the packet kernel: the compiled one, or its twin in plain Python.

What they do is documented in the twin, kernel_python.py. A node uses one of them for all that it has; objects of the
two do not mix.
"""

from __future__ import annotations

import importlib
from typing import Final, Literal, NamedTuple

from zvonim_sfu.net import kernel_python

Choice = Literal["auto", "compiled", "python"]

_COMPILED: Final = "zvonim_sfu.net.kernel_compiled"


class KernelError(RuntimeError):
    """The kernel that was asked for is not there."""


class Kernel(NamedTuple):
    """The classes of one kernel."""

    name: Literal["compiled", "python"]
    Batch: type[kernel_python.Batch]
    Egress: type[kernel_python.Egress]
    FanOut: type[kernel_python.FanOut]
    Sender: type[kernel_python.Sender]


PYTHON: Final = Kernel("python", kernel_python.Batch, kernel_python.Egress, kernel_python.FanOut, kernel_python.Sender)


def load_kernel(choice: Choice = "auto") -> Kernel:
    """Return a kernel; "auto" is the compiled one if it was built. Raises KernelError, a sentence for the operator."""
    if choice == "python":
        return PYTHON
    try:
        module = importlib.import_module(_COMPILED)
    except ImportError as error:
        if choice == "auto":
            return PYTHON
        raise KernelError(
            f"The compiled kernel cannot be used ({error}): install a C compiler and Python's headers, then "
            "the package again; or leave the setting kernel at auto"
        ) from error
    return Kernel("compiled", module.Batch, module.Egress, module.FanOut, module.Sender)
