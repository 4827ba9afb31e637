from __future__ import annotations

import ifaddr
import pytest
from aiortc.sdp import candidate_from_sdp
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.net.addresses import (
    AddressError,
    Announced,
    Candidate,
    candidates,
    host_addresses,
    parse_announced,
)


def adapter(*addresses: str | tuple[str, int, int]) -> ifaddr.Adapter:
    return ifaddr.Adapter("eth", "eth", [ifaddr.IP(address, 24, "eth") for address in addresses])


def test_host_addresses_are_without_link_local_ones_and_end_with_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapters = [
        adapter("127.0.0.1", ("::1", 0, 0)),
        adapter("192.0.2.2", "169.254.3.4", ("fd00::2", 0, 0), ("fe80::1", 0, 4)),
        adapter("192.0.2.2"),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    assert host_addresses() == ("192.0.2.2", "fd00::2", "127.0.0.1", "::1")


def test_this_host_has_its_loopback_address() -> None:
    assert "127.0.0.1" in host_addresses()


@pytest.mark.parametrize(
    ("text", "announced"),
    [
        ("203.0.113.7", Announced("203.0.113.7")),
        (" 203.0.113.7:7000 ", Announced("203.0.113.7", 7000)),
        ("2001:db8::7", Announced("2001:db8::7")),
        ("2001:DB8:0::7", Announced("2001:db8::7")),
        ("[2001:db8::7]", Announced("2001:db8::7")),
        ("[2001:db8::7]:65535", Announced("2001:db8::7", 65535)),
    ],
)
def test_announced_addresses_are_read(text: str, announced: Announced) -> None:
    assert parse_announced(text) == announced


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is no address: write an IP address, if need be with a port, as in 203.0.113.7:7000"),
        ("media.example", "write an IP address"),
        ("203.0.113.7:", "has no valid port: write a number from 1 to 65535"),
        ("203.0.113.7:0", "has no valid port"),
        ("203.0.113.7:65536", "has no valid port"),
        ("203.0.113.7:+80", "has no valid port"),
        ("203.0.113.7:٨٠", "has no valid port"),
        ("[2001:db8::7", r"write \[IPv6\]:PORT"),
        ("[2001:db8::7]7000", r"write \[IPv6\]:PORT"),
        ("0.0.0.0", "no address that a client can send to"),
        ("224.0.0.1", "no address that a client can send to"),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence):
        parse_announced(text)


@given(st.text() | st.text(alphabet="0123456789.:[]abcdef%", max_size=24))
def test_any_text_is_an_address_or_the_one_error(text: str) -> None:
    try:
        announced = parse_announced(text)
    except AddressError:
        return
    assert announced.port is None or 1 <= announced.port <= 65535


def test_candidates_prefer_reachable_addresses_of_both_versions_to_loopback() -> None:
    bound = [(address, 7000) for address in ("127.0.0.1", "192.0.2.2", "::1", "198.51.100.2", "fd00::2")]
    offered = candidates(bound, [])
    assert [candidate.address for candidate in offered] == [
        "fd00::2",
        "192.0.2.2",
        "198.51.100.2",
        "127.0.0.1",
        "::1",
    ]
    assert {candidate.port for candidate in offered} == {7000}


def test_priorities_follow_the_formula_and_fall_and_foundations_differ() -> None:
    offered = candidates([("192.0.2.2", 7000), ("fd00::2", 7000), ("127.0.0.1", 7000)], [])
    # RFC 8445, section 5.1.2.1: 2^24 * 126 + 2^8 * 65535 + 255.
    assert offered[0].priority == 2130706431
    assert [offered[0].priority - candidate.priority for candidate in offered] == [0, 256, 512]
    assert len({candidate.foundation for candidate in offered}) == 3


def test_announced_addresses_replace_the_bound_ones_in_their_order() -> None:
    offered = candidates(
        [("192.0.2.2", 7000), ("::1", 7000)],
        [Announced("203.0.113.7"), Announced("2001:db8::7", 9000), Announced("203.0.113.7")],
    )
    assert [(candidate.address, candidate.port) for candidate in offered] == [
        ("203.0.113.7", 7000),
        ("2001:db8::7", 9000),
    ]


def test_a_candidate_is_written_as_sdp_parsers_read_it() -> None:
    text = Candidate("fd00::2", 7000, 2130706431, "1").to_sdp()
    assert text == "1 1 udp 2130706431 fd00::2 7000 typ host"
    parsed = candidate_from_sdp(text)
    assert (parsed.ip, parsed.port, parsed.type, parsed.component) == ("fd00::2", 7000, "host", 1)
