"""RTP packets, read in place and forwarded by their bytes.

A packet is parsed once, when it comes in, and never serialised again: what a receiver gets is a new fixed header, which
is its own, and the *tail*, everything behind the fixed header, which all receivers of one numbering share.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from zvonim_sfu.rtp.red import primary_at

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXED_HEADER_BYTES: Final = 12
# A block that no honest sender fills (the longest in the field, AV1's dependency descriptor with its templates, has
# about 150 bytes): keeps the walk over a hostile block below 50 us.
MAX_BLOCK_BYTES: Final = 1024
# Browsers use ten at most: keeps the work per numbering small.
MAX_EXTENSIONS: Final = 32

_ONE_BYTE_PROFILE: Final = 0xBEDE  # RFC 8285, section 4.2
_TWO_BYTE_PROFILE: Final = 0x1000  # RFC 8285, section 4.3; the low four bits belong to the application
_PADDING_BIT: Final = 0x20
_EXTENSION_BIT: Final = 0x10
# Of a plan's table, behind its 256 numbers.
_TRANSPORT_WIDE: Final = 256
_DESCRIPTOR: Final = 257
_RED: Final = 258
# What every dependency descriptor begins with: flags and template, frame_number.
_DESCRIPTOR_BYTES: Final = 3

_read_fixed_header: Final = Struct("!BBHII").unpack_from
_read_block_header: Final = Struct("!HH").unpack_from
_write_block_header: Final = Struct("!HH").pack_into


class RtpError(ValueError):
    """Bytes that are not an RTP packet, or numbers that no RTP packet can carry."""


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on a shared port (RFC 5761, section 4): the second byte is the RTCP packet type."""
    return len(data) > 1 and 192 <= data[1] <= 223


class ExtensionPlan:
    """How one publisher's header-extension numbers become one subscriber's, and what becomes of redundant audio.

    Equal plans share the tails that packets remember.

    Args:
        mapping: the number that comes in -> the number that goes out, both 1..255. An extension whose number is
            not in it is removed. Two numbers must not become one.
        transport_wide: under which number an element for the transport-wide number, two zeros, is put behind all
            others; 0 for none. Who sends writes the number there (net.sending).
        descriptor: the number under which AV1's dependency descriptor comes in, 0 for none.
        red: the payload type that packets of redundant audio (RFC 2198) come in with, if they are to go out as their
            primary block alone; 0 for none, all payloads stay as they came.

    Raises:
        RtpError: a number out of range, or one that two others become.
    """

    __slots__ = ("table",)

    table: bytes
    """For each of the 256 numbers the one that goes out, 0 = removed; then `transport_wide`, `descriptor` and `red`.
    Also the key of a remembered tail: the hash of bytes is computed once, in C."""

    def __init__(
        self, mapping: Mapping[int, int], *, transport_wide: int = 0, descriptor: int = 0, red: int = 0
    ) -> None:
        if any(not 1 <= number <= 255 for pair in mapping.items() for number in pair):
            raise RtpError("Header extension numbers are 1 to 255")
        if not (0 <= transport_wide <= 255 and 0 <= descriptor <= 255):
            raise RtpError("Header extension numbers are 1 to 255, or 0 for none")
        if not 0 <= red <= 127:
            raise RtpError("Payload types are 0 to 127")
        if len(set(mapping.values()) | {transport_wide}) <= len(mapping):
            raise RtpError("Two header extensions cannot go out under one number")
        table = bytearray(256)
        for number_in, number_out in mapping.items():
            table[number_in] = number_out
        self.table = bytes((*table, transport_wide, descriptor, red))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExtensionPlan) and self.table == other.table

    def __hash__(self) -> int:
        return hash(self.table)

    def __repr__(self) -> str:
        *table, transport_wide, descriptor, red = self.table
        mapping = {number_in: number_out for number_in, number_out in enumerate(table) if number_out}
        return f"ExtensionPlan({mapping}, {transport_wide=}, {descriptor=}, {red=})"


class Tail(NamedTuple):
    """What all receivers of one numbering get of a packet, and where in it something is each one's own."""

    first_byte: int
    """Version, padding bit, extension bit and CSRC count: the first byte of the header that goes before `data`."""
    data: bytes
    """Everything behind the 12 bytes of the fixed header."""
    octets: int
    """How many of these bytes, the last ones, are payload and padding."""
    number_at: int = -1
    """Where in `data` the two bytes of the transport-wide number are; -1 where the plan has none."""
    frame_number_at: int = -1
    """Where in `data` the two bytes of the dependency descriptor's frame_number are (AV1 RTP specification 1.0,
    A.8.1); -1 where no descriptor goes out."""


class Fields(NamedTuple):
    """Where in a packet's payload are numbers that must go on when layers are dropped or sources change."""

    picture_id_at: int = -1
    """Offset in the payload of the picture id of VP8 (RFC 7741 section 4.2) or VP9 (RFC 9628); -1 for none."""
    picture_id_bits: int = 7
    """7, one byte, or 15, two bytes of which the highest bit stays set."""
    picture_id: int = 0
    """What it is, in the packet or in the rendition that the packet goes out in (rtp.rendition). It goes out with a
    sender's offset added, modulo its width, as all of these."""
    tl0_at: int = -1
    """Offset in the payload of the 8-bit TL0PICIDX; -1 for none."""
    tl0: int = 0
    """What it is in the packet."""


NO_FIELDS: Final = Fields()
"""Of a payload without any."""


class RtpPacket:
    """An RTP packet (RFC 3550, section 5.1) over the bytes that it came in. Made by `parse`."""

    __slots__ = (
        "_block_offset",
        "_elements",
        "_payload_end",
        "_tails",
        "data",
        "marker",
        "payload_offset",
        "payload_type",
        "sequence_number",
        "ssrc",
        "timestamp",
    )

    data: bytes
    marker: bool
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload_offset: int
    _payload_end: int
    # Where the extension block, its four bytes of header included, begins; it ends where the payload begins.
    _block_offset: int
    # Number, begin and end of each extension; None without a block.
    _elements: list[tuple[int, int, int]] | None
    _tails: dict[bytes, Tail] | None

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read a packet and check every length in it.

        Raises:
            RtpError: the bytes are no RTP packet: too short, another version, or CSRCs, extensions or padding
                that reach beyond their place.
        """
        size = len(data)
        if size < FIXED_HEADER_BYTES:
            raise RtpError("RTP packet is shorter than its fixed header")
        packet = cls.__new__(cls)
        first, second, packet.sequence_number, packet.timestamp, packet.ssrc = _read_fixed_header(data)
        if first >> 6 != 2:
            raise RtpError("RTP version is not 2")
        packet.data = data
        packet.marker = second > 127
        packet.payload_type = second & 127
        offset = FIXED_HEADER_BYTES + 4 * (first & 15)
        packet._block_offset = offset
        packet._tails = None
        if first & _EXTENSION_BIT:
            if offset + 4 > size:
                raise RtpError("RTP packet ends in its extension header")
            profile, words = _read_block_header(data, offset)
            start = offset + 4
            offset = start + 4 * words
            if offset > size:
                raise RtpError("RTP header extension is longer than the packet")
            packet._elements = _elements(data, profile, start, offset)
        else:
            if offset > size:
                raise RtpError("RTP packet ends in its CSRC list")
            packet._elements = None
        packet.payload_offset = offset
        if first & _PADDING_BIT:
            # The last byte counts itself too (RFC 3550, section 5.1).
            padding = data[-1]
            if padding == 0 or padding > size - offset:
                raise RtpError("RTP padding length is invalid")
            size -= padding
        packet._payload_end = size
        return packet

    @property
    def payload(self) -> bytes:
        """The payload without padding."""
        return self.data[self.payload_offset : self._payload_end]

    def extension(self, number: int, /) -> bytes | None:
        """Return the value of the (first) extension of this number, None if the packet has none."""
        if self._elements is not None:
            for element, start, end in self._elements:
                if element == number:
                    return self.data[start:end]
        return None

    def extensions(self) -> list[tuple[int, bytes]]:
        """Return numbers and values of all extensions, in their order."""
        return [(number, self.data[start:end]) for number, start, end in self._elements or ()]

    def tail(self, plan: ExtensionPlan) -> Tail:
        """Return what follows the fixed header, with the extensions numbered as the subscriber knows them.

        CSRCs, payload and padding stay as they came, byte for byte, but for redundant audio that the plan unwraps.
        Computed once for each numbering, not for each receiver.
        """
        tails = self._tails
        if tails is None:
            tails = self._tails = {}
        tail = tails.get(plan.table)
        if tail is None:
            tail = tails[plan.table] = self._make_tail(plan.table)
        return tail

    def forget_tails(self) -> None:
        """Let go of what was computed for receivers: a packet that is kept takes half of the memory then."""
        self._tails = None

    def _make_tail(self, table: bytes) -> Tail:
        data = self.data
        elements = self._elements
        csrcs = self._block_offset - FIXED_HEADER_BYTES
        payload = self.payload_offset
        is_red = self.payload_type == table[_RED] > 0
        if is_red:
            payload = primary_at(data, payload, self._payload_end)
        octets = len(data) - payload
        if is_red or table[_TRANSPORT_WIDE]:
            pass
        elif elements is None:
            return Tail(data[0], data[FIXED_HEADER_BYTES:], octets)
        elif elements and all(table[number] == number for number, _, _ in elements):
            frame_number_at = _frame_number(elements, table, -FIXED_HEADER_BYTES)
            return Tail(data[0], data[FIXED_HEADER_BYTES:], octets, -1, frame_number_at)
        block, elements_out = _map_block(data, elements or [], table)
        first_byte = data[0] | _EXTENSION_BIT if block else data[0] & ~_EXTENSION_BIT
        tail = b"".join((data[FIXED_HEADER_BYTES : self._block_offset], block, data[payload:]))
        number_at = csrcs + elements_out[-1][1] if table[_TRANSPORT_WIDE] else -1
        return Tail(first_byte, tail, octets, number_at, _frame_number(elements_out, table, csrcs))


def _elements(data: bytes, profile: int, start: int, end: int) -> list[tuple[int, int, int]]:
    """Walk over an extension block (RFC 8285, section 4) of either form, or of none: that one has no elements."""
    if end - start > MAX_BLOCK_BYTES:
        raise RtpError("RTP header extension is too long")
    elements: list[tuple[int, int, int]] = []
    if profile == _ONE_BYTE_PROFILE:
        while start < end:
            head = data[start]
            start += 1
            if 15 < head < 240:
                value = start
                start += (head & 15) + 1
                elements.append((head >> 4, value, start))
            elif head:  # number 0 or 15 ends the list, its length says nothing (RFC 8285, section 4.2); 0 is padding
                break
    elif profile & 0xFFF0 == _TWO_BYTE_PROFILE:
        while start < end:
            number = data[start]
            start += 1
            if number == 0:
                continue
            if start == end:
                raise RtpError("RTP header extension ends before the length of an element")
            value = start + 1
            start = value + data[start]
            elements.append((number, value, start))
    if start > end:
        raise RtpError("RTP header extension element is longer than its block")
    if len(elements) > MAX_EXTENSIONS:
        raise RtpError("RTP packet has too many header extensions")
    return elements


def _frame_number(elements: list[tuple[int, int, int]], table: bytes, moved: int) -> int:
    """Return where frame_number is in what these elements were moved to, -1 without a whole one."""
    for number, start, end in elements:
        if number and number == table[_DESCRIPTOR] and end - start >= _DESCRIPTOR_BYTES:
            return start + 1 + moved
    return -1


def _map_block(
    data: bytes, elements: list[tuple[int, int, int]], table: bytes
) -> tuple[bytearray, list[tuple[int, int, int]]]:
    """Build the extension block, header included, of what goes out; empty for nothing.

    Also returns the elements that it has, by the numbers that they came in with, and where they are in the block. The
    transport-wide number is the last one, if there is to be one, and came in with none: 0.
    """
    values = [(number, table[number], data[start:end]) for number, start, end in elements if table[number]]
    if table[_TRANSPORT_WIDE]:
        values.append((0, table[_TRANSPORT_WIDE], b"\0\0"))
    if not values:
        return bytearray(), []
    is_short = all(number_out <= 14 and 0 < len(value) <= 16 for _, number_out, value in values)
    block = bytearray(4)
    elements_out = []
    for number, number_out, value in values:
        if is_short:
            block.append(number_out << 4 | len(value) - 1)
        else:
            block.append(number_out)
            block.append(len(value))
        elements_out.append((number, len(block), len(block) + len(value)))
        block += value
    block += bytes(-len(block) % 4)
    profile = _ONE_BYTE_PROFILE if is_short else _TWO_BYTE_PROFILE
    _write_block_header(block, 0, profile, len(block) // 4 - 1)
    return block, elements_out
