"""A network of the test's own: Firefox never pairs a loopback candidate, so it needs another address.

The namespace holds both ends of a veth pair; nothing in it reaches any other machine, and it is gone when
the last process in it is.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS: Final = "10.77.0.1"
"""The host's address inside the namespace: what a server there announces and Firefox connects to."""
CLONE_NEWNET: Final = 0x40000000
"""linux/sched.h"""
COMMANDS: Final = (
    "link set lo up",
    "link add zvonim0 type veth peer name zvonim1",
    f"addr add {ADDRESS}/24 dev zvonim0",
    "link set zvonim0 up",
    "link set zvonim1 up",
    # Without a default route Firefox gathers nothing unless it has a camera.
    "route add default dev zvonim0",
)

THREAD_NAMESPACE: Final = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)
_own: set[tuple[int, int]] = set()


class NamespaceError(RuntimeError):
    """This user may not make a network namespace, or iproute2 is missing."""


@contextmanager
def network_namespace() -> Iterator[str]:
    """Move this thread into a new namespace, yield the host's address there, and move back.

    Sockets opened and processes started by this thread meanwhile live in the namespace; sockets that were open
    stay where they are. Raises NamespaceError with what to do where that is not possible.
    """
    ip = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
    if ip is None:
        raise NamespaceError("Firefox is tested in a network namespace: apt-get install iproute2")
    home = os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", CLONE_NEWNET)
        made = _current()
        _own.add(made)
        try:
            for command in COMMANDS:
                subprocess.run([ip, *command.split()], check=True, capture_output=True, timeout=10)
            yield ADDRESS
        finally:
            _own.discard(made)
            _call("setns", home, CLONE_NEWNET)
    except subprocess.CalledProcessError as error:
        raise NamespaceError(f"{' '.join(error.cmd)}: {error.stderr.decode().strip()}") from error
    finally:
        os.close(home)


def in_own_namespace() -> bool:
    """Whether this thread is in a namespace that `network_namespace` has made in this process."""
    return bool(_own) and _current() in _own


def _current() -> tuple[int, int]:
    """What tells namespaces apart (namespaces(7))."""
    status = os.stat(THREAD_NAMESPACE)
    return status.st_dev, status.st_ino


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise NamespaceError(
            f"{name}: {os.strerror(number)}. Firefox is tested in a network namespace of its own: "
            "run the tests as root (in a container: with --cap-add=SYS_ADMIN --cap-add=NET_ADMIN)"
        )
