"""SRTP by pylibsrtp: the only module that knows it.

Compiled code calls libsrtp without linking it: pylibsrtp is a cffi module, which tells the addresses of libsrtp's
functions and of a session's state. tests/net/test_dependencies.py guards `_binding` and `Session._srtp`, which are
private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pylibsrtp._binding import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable

    from pylibsrtp import Session

    _Function = Callable[[object, object, object], int]

# pylibsrtp works in a buffer of 1500 bytes, of which it keeps 144 for the longest authentication tag and key
# identifier. The compiled kernel has the same bounds.
MAX_PROTECTED_BYTES: Final = 1500
MAX_RTP_BYTES: Final = MAX_PROTECTED_BYTES - 144

# Four bytes more than for RTP: the number of an SRTCP packet (section 3.4).
MAX_RTCP_BYTES: Final = MAX_RTP_BYTES - 4

# What all sessions work in, one after the other: as everything on the packet path, in one thread.
_MEMORY: Final[Any] = ffi.new("char[]", MAX_PROTECTED_BYTES)
_BYTES: Final[Any] = ffi.buffer(_MEMORY)
_SIZE: Final[Any] = ffi.new("int *")

PROTECT_ADDRESS: Final = int(ffi.cast("uintptr_t", ffi.addressof(lib, "srtp_protect")))
"""Where `srtp_err_status_t srtp_protect(srtp_t, void *packet, int *size)` is."""
UNPROTECT_ADDRESS: Final = int(ffi.cast("uintptr_t", ffi.addressof(lib, "srtp_unprotect")))
"""The same of `srtp_unprotect`."""


def session_address(session: Session) -> int:
    """Return the `srtp_t` of a session, which is valid for as long as the session lives."""
    return int(ffi.cast("uintptr_t", session._srtp[0]))


def protect_rtp(session: Session, data: bytes) -> bytes | None:
    """Return an RTP packet as SRTP (RFC 3711), None if libsrtp refuses it: no RTP, or a number that was used before.

    Raises ValueError if it is longer than MAX_RTP_BYTES.
    """
    if len(data) > MAX_RTP_BYTES:
        raise ValueError("packet is too long")
    return _process(session, lib.srtp_protect, data)


def unprotect_rtp(session: Session, data: bytes) -> bytes | None:
    """Return the RTP packet in an SRTP packet (RFC 3711), None if it is forged, replayed or no SRTP."""
    return _process(session, lib.srtp_unprotect, data) if len(data) <= MAX_PROTECTED_BYTES else None


def unprotect_rtcp(session: Session, data: bytes) -> bytes | None:
    """Return the RTCP packet in an SRTCP packet (RFC 3711), None if it is forged, replayed or no SRTCP."""
    return _process(session, lib.srtp_unprotect_rtcp, data) if len(data) <= MAX_PROTECTED_BYTES else None


def protect_rtcp(session: Session, data: bytes) -> bytes | None:
    """Return an RTCP packet as SRTCP (RFC 3711), None if libsrtp refuses it (too long, not RTCP)."""
    return _process(session, lib.srtp_protect_rtcp, data) if len(data) <= MAX_RTCP_BYTES else None


def _process(session: Session, function: _Function, data: bytes) -> bytes | None:
    """Let libsrtp work on bytes that leave it room; as `Session` does it, without what that makes for each call."""
    size = len(data)
    _BYTES[0:size] = data
    _SIZE[0] = size
    if function(session._srtp[0], _MEMORY, _SIZE) != 0:
        return None
    processed: bytes = _BYTES[0 : _SIZE[0]]
    return processed
