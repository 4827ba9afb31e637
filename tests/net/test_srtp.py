from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.net.links import PROFILES, rtp_header, sessions
from zvonim_sfu.net.srtp import protect_rtcp, unprotect_rtcp, unprotect_rtp

RECEIVER_REPORT = struct.pack("!BBHI", 0x80, 201, 1, 0x5EED)


@pytest.mark.parametrize("profile", PROFILES)
def test_rtcp_survives_the_way(profile: str) -> None:
    tx, rx = sessions(profile)
    protected = protect_rtcp(tx, RECEIVER_REPORT)
    assert protected is not None
    assert unprotect_rtcp(rx, protected) == RECEIVER_REPORT


def test_forged_and_replayed_packets_are_none() -> None:
    tx, rx = sessions()
    data = tx.protect(rtp_header(1) + b"payload")
    assert unprotect_rtp(rx, data[:-1] + bytes([data[-1] ^ 1])) is None
    assert unprotect_rtp(rx, data) is not None
    assert unprotect_rtp(rx, data) is None
    report = protect_rtcp(tx, RECEIVER_REPORT)
    assert report is not None
    assert unprotect_rtcp(rx, report[:-1] + bytes([report[-1] ^ 1])) is None
    assert unprotect_rtcp(rx, report) == RECEIVER_REPORT
    assert unprotect_rtcp(rx, report) is None


def test_rtcp_that_libsrtp_refuses_is_none() -> None:
    tx, _ = sessions()
    assert protect_rtcp(tx, bytes(1500)) is None
    assert protect_rtcp(tx, b"\x80") is None


@given(st.binary(max_size=64) | st.binary(min_size=1490, max_size=1510))
def test_no_bytes_from_the_network_raise(data: bytes) -> None:
    for profile in PROFILES:
        _, rx = sessions(profile)
        assert unprotect_rtp(rx, data) is None
        assert unprotect_rtcp(rx, data) is None
