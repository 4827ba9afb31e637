"""Which of a range of packets came and when, as transport feedback writes it: chunks of statuses, then deltas.

draft-holmer-rmcat-transport-wide-cc-extensions-01, sections 3.1.1 to 3.1.5. Compiled as it stands, where there is a
compiler: see transport_chunks.pxd.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from zvonim_sfu.rtp.rtcp_reports import RtcpError

CHUNK: Final = Struct("!H")

# How statuses, written as digits, fall into chunks (section 3.1): runs of one status, vectors of 14 statuses of one bit
# or of 7 of two bits. Only the last vector may be short.
_CHUNKS: Final = re.compile(
    rb"(?P<run>0{15,8191}|1{15,8191}|2{8,8191})|(?P<bits>[01]{14}|[01]{8,13}\Z)|(?P<pairs>[012]{1,7})"
)
_RUN_LIMIT: Final = 0x8000  # chunks below it are runs (section 3.1.3)
_PAIRS: Final = 0xC000  # the first chunk whose vector has two bits for each status (section 3.1.4)
# Statuses (section 3.1.1); the others are the bytes of their delta.
_LARGE: Final = 2
_RESERVED: Final = 3  # means nothing


def pack_chunks(statuses: bytearray) -> bytes:
    """Return the chunks for statuses, which are written as the digits 0 to 2."""
    chunks = bytearray()
    for match in _CHUNKS.finditer(statuses):
        symbols = match[0]
        if match["run"]:
            chunk = int(symbols[:1]) << 13 | len(symbols)
        elif match["bits"]:
            chunk = _RUN_LIMIT | int(symbols, 2) << 14 - len(symbols)
        else:
            chunk = _PAIRS | int(symbols, 4) << 2 * (7 - len(symbols))
        chunks += CHUNK.pack(chunk)
    return bytes(chunks)


def parse_received(body: bytes, at: int, count: int) -> tuple[tuple[int, int], ...]:
    """Return offset and delta (250 us) of each packet that came, in order.

    Args:
        body: of the feedback.
        at: where in it the chunks begin.
        count: how many statuses they tell.

    Raises:
        RtcpError: the body ends before them or their deltas, or one of them is reserved.
    """
    statuses, at = _parse_chunks(body, at, count)
    size = len(body)
    received = []
    for offset, status in statuses:
        if status == _RESERVED:
            raise RtcpError("RTCP transport feedback has a reserved status")
        if at + status > size:
            raise RtcpError("RTCP transport feedback ends before its last delta")
        delta = body[at]
        if status == _LARGE:
            delta = delta << 8 | body[at + 1]
            delta -= (delta & 0x8000) << 1
        at += status
        received.append((offset, delta))
    return tuple(received)


def _parse_chunks(body: bytes, at: int, count: int) -> tuple[list[tuple[int, int]], int]:
    """Return offset and status of each packet that came, and where the deltas begin."""
    size = len(body)
    statuses: list[tuple[int, int]] = []
    offset = 0
    while offset < count:
        if at + 2 > size:
            raise RtcpError("RTCP transport feedback ends before its last chunk")
        chunk = body[at] << 8 | body[at + 1]
        at += 2
        if chunk < _RUN_LIMIT:
            status, length = chunk >> 13, min(chunk & 0x1FFF, count - offset)
            if status:
                # Every status needs a byte at least: checked before a few bytes become a long list.
                if len(statuses) + length > size:
                    raise RtcpError("RTCP transport feedback ends before its last delta")
                statuses += [(index, status) for index in range(offset, offset + length)]
            offset += length
        else:
            bits, length = (2, 7) if chunk >= _PAIRS else (1, 14)
            for index in range(min(length, count - offset)):
                status = chunk >> (length - 1 - index) * bits & (1 << bits) - 1
                if status:
                    statuses.append((offset + index, status))
            offset += length
    return statuses, at
