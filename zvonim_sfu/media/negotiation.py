"""Offer and answer (RFC 8829) as pure functions from (session, description) to (session, description).

A Session is what both sides have agreed on; it is a value and never changes in place. Nothing here knows a socket, a
task or a clock. The caller owns the order of things (which offer is outstanding, glare): see media.peer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media import codecs as codec_table
from zvonim_sfu.media.sdp import Description, Extension, Section
from zvonim_sfu.media.session import Negotiated, NegotiationError, Remote, Sending, Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.session import Local, Track

MID_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
# Extensions that speak of one hop: they end at the server and are not asked for where it does not use them.
HOP_BY_HOP: Final = frozenset(
    {
        "urn:ietf:params:rtp-hdrext:toffset",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02",
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    }
)
_PROTOCOLS: Final = frozenset({"UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF", "RTP/SAVPF"})
_HASHES: Final = frozenset({"sha-256", "sha-384", "sha-512"})
# Chromium keeps the ids of an offer that it rolled back; ids from here on never meet one that it picks itself.
_FIRST_OWN_EXTENSION_ID: Final = 16
_DISCARD_PORT: Final = 9  # JSEP: the port of an m= line whose address is told by candidates


def answer(
    session: Session,
    offer: Description,
    *,
    local: Local,
    tracks: Sequence[Track] = (),
    slot_mode: bool = False,
    max_up_tracks: int = 8,
) -> tuple[Session, Description]:
    """Accept a client's offer.

    `tracks` are those that the client is to receive in m-sections of its own making (not in slot mode); what finds no
    place waits for an offer of the server. Raises NegotiationError.
    """
    _check_continuation(session, offer)
    remote = _remote_of(offer, session)
    _check_transport(offer)
    extension_ids, known = _adopt_numbering(session, offer)
    wanted = {track.key: track for track in tracks}
    old = session.sections
    kept = [_still_sending(old[i], section, wanted) if i < len(old) else None
            for i, section in enumerate(offer.sections)]  # fmt: skip
    unplaced = [track for track in tracks if track.key not in {s.key for s in kept if s is not None}]
    sections: list[Negotiated] = []
    for i, section in enumerate(offer.sections):
        codecs = codec_table.supported(section.codecs)
        if section.rejected or not codecs:
            sections.append(Negotiated(section.kind, section.protocol, section.mid, stopped=True))
            continue
        stream = -1
        sending = kept[i]
        if slot_mode and section.direction == "recvonly":
            stream = sum(s.kind == section.kind and s.stream >= 0 for s in sections)
            sending = sending or _slot(section.kind, stream)
        elif not slot_mode and sending is None and section.receives:
            track = next((track for track in unplaced if track.kind == section.kind), None)
            if track is not None:
                unplaced.remove(track)
                sending = _sending(track)
        ssrc = old[i].ssrc if i < len(old) and old[i].mid == section.mid else 0
        sections.append(
            Negotiated(
                kind=section.kind,
                protocol=section.protocol,
                mid=section.mid,
                codecs=codecs,
                extensions=tuple(e for e in section.extensions if e.uri not in HOP_BY_HOP),
                extmap_allow_mixed=section.extmap_allow_mixed,
                client_sends=section.sends,
                client_receives=section.receives,
                client_ssrcs=section.ssrcs,
                client_msid=section.msid,
                sending=sending,
                ssrc=ssrc or (local.new_ssrc() if sending else 0),
                stream=stream,
            )
        )
    if sum(section.client_sends for section in sections) > max_up_tracks:
        raise NegotiationError(
            "too-many-tracks", f"A participant may publish {max_up_tracks} tracks; stop one and offer again."
        )
    agreed = Session(tuple(sections), remote, session.version + 1, extension_ids, known)
    setup = "passive" if remote.dtls_role == "server" else "active"
    return agreed, _describe(agreed, local, setup=setup)


def make_offer(session: Session, tracks: Sequence[Track], *, local: Local) -> tuple[Session, Description]:
    """Offer the client exactly `tracks`: m-sections that fell free are used again before new ones are added.

    The session returned takes effect when the client's answer has passed `accept_answer`.
    """
    wanted = {track.key: track for track in tracks}
    sections = [
        section if _wanted(section.sending, wanted) else replace(section, sending=None) for section in session.sections
    ]
    placed = {section.sending.key for section in sections if section.sending is not None}
    extension_ids, known = dict(session.extension_ids), dict(session.codecs)
    for track in tracks:
        if track.key in placed:
            continue
        codecs = codec_table.renumber(track.codecs, known)
        extensions = _number_extensions(track.extensions, extension_ids)
        index = next((i for i, section in enumerate(sections) if _is_free(section, track.kind)), len(sections))
        if index == len(sections):
            mid = _new_mid(sections)
            sections.append(Negotiated(track.kind, "UDP/TLS/RTP/SAVPF", mid, client_receives=True))
        section = sections[index]
        sections[index] = replace(
            section,
            codecs=_merge_codecs(section.codecs, codecs),
            extensions=_merge_extensions(section.extensions, extensions),
            extmap_allow_mixed=True,
            sending=_sending(track),
            ssrc=section.ssrc or local.new_ssrc(),
        )
    offered = Session(tuple(sections), session.remote, session.version + 1, extension_ids, known)
    return offered, _describe(offered, local, setup="actpass")


def accept_answer(offered: Session, answer: Description) -> Session:
    """The session after the client's answer to `make_offer`. Raises NegotiationError."""
    if len(answer.sections) != len(offered.sections):
        raise NegotiationError("invalid-sdp", "The answer has another number of m-sections than the offer.")
    live = [section for section in answer.sections if not section.rejected]
    remote = _remote_of(answer, offered) if live else offered.remote
    _check_transport(answer)
    sections = []
    for mine, theirs in zip(offered.sections, answer.sections, strict=True):
        if mine.kind != theirs.kind or (mine.mid != theirs.mid and not theirs.rejected):
            raise NegotiationError("invalid-sdp", "The m-sections of the answer are not those of the offer.")
        if mine.stopped or theirs.rejected:
            # `sending` stays, so that a track that this client refuses is not offered to it again and again.
            sections.append(replace(mine, stopped=True, codecs=(), client_sends=False, client_receives=False))
            continue
        uris = {extension.uri for extension in theirs.extensions}
        sections.append(
            replace(
                mine,
                codecs=codec_table.supported(theirs.codecs),
                extensions=tuple(extension for extension in mine.extensions if extension.uri in uris),
                client_sends=theirs.sends,
                client_receives=theirs.receives if mine.sending is not None else mine.client_receives,
                client_ssrcs=theirs.ssrcs,
                client_msid=theirs.msid,
            )
        )
    return replace(offered, sections=tuple(sections), remote=remote)


def changes_needed(session: Session, tracks: Sequence[Track]) -> bool:
    """Whether the tracks that the session sends are other than `tracks`, so that the client is owed an offer."""
    sent = {s.sending.key for s in session.sections if s.sending is not None and s.stream < 0}
    return sent != {track.key for track in tracks}


def _check_continuation(session: Session, offer: Description) -> None:
    if len(offer.sections) < len(session.sections):
        raise NegotiationError("invalid-sdp", "The offer has fewer m-sections than were negotiated before.")
    for mine, theirs in zip(session.sections, offer.sections, strict=False):
        if not mine.stopped and (mine.kind != theirs.kind or (mine.mid != theirs.mid and not theirs.rejected)):
            raise NegotiationError("invalid-sdp", "The offer changes the kind or the mid of an m-section.")
    if not session.sections and not any(
        section.kind in ("audio", "video") and not section.rejected for section in offer.sections
    ):
        raise NegotiationError("no-media", "The offer has no audio or video m-section; add a track or a transceiver.")


def _check_transport(description: Description) -> None:
    for section in description.sections:
        if section.rejected or section.kind not in ("audio", "video"):
            continue
        if section.protocol not in _PROTOCOLS:
            raise NegotiationError("unsupported-transport", f"Use UDP/TLS/RTP/SAVPF, not {section.protocol[:40]}.")
        if section.mid not in description.bundle:
            raise NegotiationError("bundle-required", "All m-sections have to be in one BUNDLE group (max-bundle).")
        if not section.rtcp_mux:
            raise NegotiationError("rtcp-mux-required", "Every m-section has to offer a=rtcp-mux.")


def _remote_of(description: Description, session: Session) -> Remote:
    if description.ice_lite:
        raise NegotiationError("unsupported-transport", "The server is ICE-lite, so the client cannot be.")
    live = [section for section in description.sections if not section.rejected]
    if not live:
        if session.remote is None:
            raise NegotiationError("no-media", "Every m-section of the description is rejected.")
        return session.remote
    tagged = live[0]  # RFC 9143: the transport of the bundle is told by its first live section
    if not tagged.ice_ufrag or not tagged.ice_pwd:
        raise NegotiationError("invalid-sdp", "The a=ice-ufrag or the a=ice-pwd is missing.")
    if not any(name in _HASHES for name, _ in tagged.fingerprints):
        raise NegotiationError("invalid-sdp", "There is no a=fingerprint with sha-256, sha-384 or sha-512.")
    # Passive wherever the client allows it: the DTLS server picks the SRTP profile.
    role = "client" if tagged.setup == "passive" else "server"
    return Remote(tagged.ice_ufrag, tagged.ice_pwd, tagged.fingerprints, role)


def _adopt_numbering(session: Session, offer: Description) -> tuple[dict[str, int], dict[int, Codec]]:
    """The client's numbers win: within one BUNDLE a number means the same in all m-sections."""
    extension_ids: dict[str, int] = {}
    codecs: dict[int, Codec] = {}
    for section in offer.sections:
        for extension in section.extensions:
            if extension_ids.setdefault(extension.uri, extension.id) != extension.id:
                raise NegotiationError("invalid-sdp", "One header extension has two ids within the bundle.")
        for codec in section.codecs:
            codecs.setdefault(codec.payload_type, codec)
    if len(set(extension_ids.values())) != len(extension_ids):
        raise NegotiationError("invalid-sdp", "One id stands for two header extensions within the bundle.")
    taken = set(extension_ids.values())
    for uri, id_ in session.extension_ids.items():
        if uri not in extension_ids and id_ not in taken:
            extension_ids[uri] = id_
    keys = {codec_table.codec_key(codec) for codec in codecs.values()}
    for payload_type, codec in session.codecs.items():
        if payload_type not in codecs and codec_table.codec_key(codec) not in keys:
            codecs[payload_type] = codec
    return extension_ids, codecs


def _wanted(sending: Sending | None, wanted: dict[str, Track]) -> bool:
    return sending is not None and (sending.key is None or sending.key in wanted)


def _still_sending(mine: Negotiated, theirs: Section, wanted: dict[str, Track]) -> Sending | None:
    if mine.mid != theirs.mid or theirs.rejected or not _wanted(mine.sending, wanted):
        return None
    return mine.sending


def _is_free(section: Negotiated, kind: str) -> bool:
    return section.kind == kind and not section.stopped and section.sending is None and section.client_receives


def _sending(track: Track) -> Sending:
    return Sending(track.key, track.stream_id, track.track_id, track.cname)


def _slot(kind: str, stream: int) -> Sending:
    # Audio k and video k share a stream: browsers synchronise only what names the same one.
    name = f"slot-{stream}"
    return Sending(None, name, f"{name}-{kind}", name)


def _new_mid(sections: Sequence[Negotiated]) -> str:
    used = {section.mid for section in sections}
    return next(mid for n in range(len(sections) + 1) if (mid := f"s{n}") not in used)


def _number_extensions(uris: Iterable[str], extension_ids: dict[str, int]) -> tuple[Extension, ...]:
    used = set(extension_ids.values())
    extensions = []
    for uri in uris:
        if uri not in extension_ids:
            extension_ids[uri] = next(n for n in range(_FIRST_OWN_EXTENSION_ID, 4096) if n not in used)
            used.add(extension_ids[uri])
        if extension_ids[uri] <= 255:  # what a two-byte header can say (RFC 8285)
            extensions.append(Extension(extension_ids[uri], uri))
    return tuple(extensions)


def _merge_codecs(old: tuple[Codec, ...], new: tuple[Codec, ...]) -> tuple[Codec, ...]:
    return old + tuple(codec for codec in new if all(codec.payload_type != other.payload_type for other in old))


def _merge_extensions(old: tuple[Extension, ...], new: tuple[Extension, ...]) -> tuple[Extension, ...]:
    return old + tuple(extension for extension in new if all(extension.id != other.id for other in old))


_REVERSED: Final = {
    "": "",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "sendrecv": "sendrecv",
    "inactive": "inactive",
}


def _describe(session: Session, local: Local, *, setup: str) -> Description:
    sections: list[Section] = []
    live = [agreed.mid for agreed in session.sections if not agreed.stopped]
    # The bundle's transport is told by its first section (RFC 9143); aiortc reads the candidates of its last.
    with_candidates = {*live[:1], *live[-1:]}
    for agreed in session.sections:
        if agreed.stopped:
            sections.append(Section(agreed.kind, 0, agreed.protocol, agreed.mid))
            continue
        sending = agreed.sending if agreed.client_receives else None
        sections.append(
            Section(
                kind=agreed.kind,
                port=_DISCARD_PORT,
                protocol=agreed.protocol,
                mid=agreed.mid,
                formats=tuple(str(codec.payload_type) for codec in agreed.codecs),
                direction=_direction(send=sending is not None, receive=agreed.client_sends),
                codecs=agreed.codecs,
                extensions=tuple(replace(e, direction=_REVERSED[e.direction]) for e in agreed.extensions),
                extmap_allow_mixed=agreed.extmap_allow_mixed,
                msid=(sending.stream_id, sending.track_id) if sending else None,
                ssrcs=(agreed.ssrc,) if sending else (),
                cname=sending.cname if sending else "",
                rtcp_mux=True,
                ice_ufrag=local.ice_ufrag,
                ice_pwd=local.ice_pwd,
                fingerprints=(local.fingerprint,),
                setup=setup,
                candidates=local.candidates if agreed.mid in with_candidates else (),
            )
        )
    return Description(tuple(sections), tuple(live), local.session_id, session.version, ice_lite=True)


def _direction(*, send: bool, receive: bool) -> str:
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"
