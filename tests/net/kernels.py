"""Both kernels, and system calls that fail."""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Final

from zvonim_sfu.net import sending_compiled
from zvonim_sfu.net.kernel import PYTHON, load_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPILED: Final = load_kernel("compiled")
KERNELS: Final = {kernel.name: kernel for kernel in (PYTHON, COMPILED)}

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SENDMMSG: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, use_errno=True
)


@contextlib.contextmanager
def sendmmsg(answer: Callable[[int], int]) -> Iterator[list[int]]:
    """Have the compiled kernel's send calls answered by a function of the number of messages.

    A positive answer sends that many by the system's call; a negative one is the `errno` of a failure. Yields how
    many messages each call was given, by the time.
    """
    calls: list[int] = []

    def call(fd: int, messages: int, count: int, flags: int) -> int:
        calls.append(count)
        result = answer(count)
        if result < 0:
            ctypes.set_errno(-result)
            return -1
        return int(_LIBC.sendmmsg(fd, ctypes.c_void_p(messages), ctypes.c_uint(result), flags))

    function = _SENDMMSG(call)
    address = ctypes.cast(function, ctypes.c_void_p).value
    sending_compiled.replace_sendmmsg(address)
    try:
        yield calls
    finally:
        sending_compiled.replace_sendmmsg(None)
