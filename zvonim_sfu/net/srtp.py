"""SRTP by pylibsrtp: the only module that knows it.

Compiled code calls libsrtp without linking it: pylibsrtp is a cffi module, which tells the addresses of libsrtp's
functions and of a session's state. tests/net/test_dependencies.py guards `_binding` and `Session._srtp`, which are
private.
"""

from __future__ import annotations

from typing import Final

from pylibsrtp import Error as SrtpError
from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

# pylibsrtp works in a buffer of 1500 bytes, of which it keeps 144 for the longest authentication tag and key
# identifier. The compiled kernel has the same bounds.
MAX_PROTECTED_BYTES: Final = 1500
MAX_RTP_BYTES: Final = MAX_PROTECTED_BYTES - 144

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
    try:
        return session.protect(data)
    except SrtpError:
        return None


def unprotect_rtp(session: Session, data: bytes) -> bytes | None:
    """Return the RTP packet in an SRTP packet (RFC 3711), None if it is forged, replayed or no SRTP."""
    try:
        return session.unprotect(data)
    except (SrtpError, ValueError):
        return None


def unprotect_rtcp(session: Session, data: bytes) -> bytes | None:
    """Return the RTCP packet in an SRTCP packet (RFC 3711), None if it is forged, replayed or no SRTCP."""
    try:
        return session.unprotect_rtcp(data)
    except (SrtpError, ValueError):
        return None


def protect_rtcp(session: Session, data: bytes) -> bytes | None:
    """Return an RTCP packet as SRTCP (RFC 3711), None if libsrtp refuses it (too long, not RTCP)."""
    try:
        return session.protect_rtcp(data)
    except (SrtpError, ValueError):
        return None
