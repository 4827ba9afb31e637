from __future__ import annotations

from typing import TYPE_CHECKING

from tests.media.flows import Publisher
from tests.media.support import H264, OPUS, VP8, VP9, rtp
from zvonim_sfu.media.router import MID_EXTENSION, Router
from zvonim_sfu.media.simulcast import Announced
from zvonim_sfu.media.source import Source
from zvonim_sfu.media.up_track import MAX_LAYERS, UpTrack
from zvonim_sfu.rtp.packet import RtpPacket

if TYPE_CHECKING:
    from zvonim_sfu.media.sdp import Codec

MID = 4


def camera(*codecs: Codec) -> UpTrack:
    return Publisher(codecs=codecs).up_track


def packet(ssrc: int, payload_type: int = 96, mid: bytes | None = None) -> RtpPacket:
    extensions = [(MID, mid)] if mid is not None else []
    return RtpPacket.parse(rtp(1, payload_type=payload_type, ssrc=ssrc, extensions=extensions))


def bound(router: Router, ssrc: int, payload_type: int = 96, mid: bytes | None = None) -> UpTrack | None:
    stream = router.bind(packet(ssrc, payload_type, mid))
    assert stream is None or stream in router.streams.values()
    return stream.up_track if stream is not None else None


def test_the_mid_decides() -> None:
    first, second = camera(VP8), camera(VP8)
    router = Router()
    router.configure({"0": first, "a-1": second}, [(first, Announced(7))], {MID_EXTENSION: MID})
    assert bound(router, 5, 96, b"a-1") is second
    assert bound(router, 6, 96, b"0") is first
    # Even against what the description says of the SSRC.
    assert bound(router, 7, 96, b"a-1") is second


def test_an_unknown_mid_is_nobodys() -> None:
    router = Router()
    router.configure({"0": camera(VP8)}, [], {MID_EXTENSION: MID})
    assert bound(router, 5, 96, b"1") is None
    assert bound(router, 5, 96, b"\xff\xfe") is None
    assert not router.streams


def test_without_a_mid_the_signalled_ssrc_decides() -> None:
    first, second = camera(VP8), camera(VP8)
    router = Router()
    router.configure({"0": first, "1": second}, [(second, Announced(7))], {MID_EXTENSION: MID})
    assert bound(router, 7) is second
    assert bound(router, 8) is None


def test_the_mid_is_not_looked_for_where_it_was_not_negotiated() -> None:
    only = camera(VP8)
    router = Router()
    router.configure({"0": only}, [], {})
    assert bound(router, 5, 96, b"x") is only


def test_an_unknown_ssrc_belongs_to_the_only_track_with_its_payload_type() -> None:
    sound = Publisher(Source.MICROPHONE).up_track
    first, second = camera(VP8, VP9), camera(VP8, H264)
    router = Router()
    router.configure({"0": sound, "1": first, "2": second}, [], {})
    assert bound(router, 1, OPUS.payload_type) is sound
    assert bound(router, 2, VP9.payload_type) is first
    assert bound(router, 3, H264.payload_type) is second
    assert bound(router, 4, VP8.payload_type) is None
    assert bound(router, 5, 77) is None


def test_a_track_does_not_take_a_payload_type_that_is_not_its_own() -> None:
    router = Router()
    router.configure({"0": camera(VP8)}, [(camera(VP8), Announced(7))], {MID_EXTENSION: MID})
    assert bound(router, 7, 98) is None
    assert bound(router, 8, 98, b"0") is None


def test_streams_of_tracks_that_ended_are_forgotten() -> None:
    first, second = camera(VP8), camera(VP9)
    router = Router()
    router.configure({"0": first, "1": second}, [], {})
    bound(router, 1, 96)
    bound(router, 2, 98)
    router.configure({"1": second}, [], {})
    assert list(router.streams) == [2]
    # A new track in the same place is another one.
    again = camera(VP8)
    router.configure({"0": again, "1": second}, [], {})
    assert bound(router, 1, 96) is again


def test_however_many_ssrcs_come_only_the_newest_of_each_track_are_known() -> None:
    router = Router()
    router.configure({"0": camera(VP8), "1": camera(VP9)}, [], {})
    for ssrc in range(1000):
        bound(router, ssrc, 96 if ssrc % 2 else 98)
    assert sorted(router.streams) == list(range(1000 - 2 * MAX_LAYERS, 1000))
