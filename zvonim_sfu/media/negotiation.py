"""Offer and answer (RFC 8829) as pure functions from (session, description) to (session, description).

A Session is what both sides have agreed on; it is a value and never changes in place. Nothing here knows a socket, a
task or a clock. The caller owns the order of things (which offer is outstanding, glare): see media.peer.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

from zvonim_sfu.media import codecs as codec_table
from zvonim_sfu.media.sdp import Description, Extension, Section
from zvonim_sfu.media.session import Negotiated, NegotiationError, Remote, Sending, Session
from zvonim_sfu.media.simulcast import RID_EXTENSIONS, acceptable, announced

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zvonim_sfu.media.sdp import Codec
    from zvonim_sfu.media.session import Local, Track
    from zvonim_sfu.media.simulcast import Encoding

MID_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
TRANSPORT_CC_EXTENSION: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
# Extensions that speak of one hop end at the server: those that it reads itself,
READ_HERE: Final = frozenset({MID_EXTENSION, TRANSPORT_CC_EXTENSION}) | RID_EXTENSIONS
# and those that it does not ask for, as it has no use for them.
UNUSED: Final = frozenset(
    {
        "urn:ietf:params:rtp-hdrext:toffset",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02",
    }
)
_PROTOCOLS: Final = frozenset({"UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF", "RTP/SAVPF"})
_HASHES: Final = frozenset({"sha-256", "sha-384", "sha-512"})
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
    _check_transport(offer)
    remote = _remote_of(offer, session)
    if remote is None:
        raise NegotiationError(
            "no-media", "The offer has no audio or video m-section with a codec that is forwarded; add a track."
        )
    extension_ids, known = _adopt_numbering(session, offer)
    wanted = {track.key: track for track in tracks}
    old = session.sections
    pairs = [
        (section, old[i] if i < len(old) and old[i].mid == section.mid else None)
        for i, section in enumerate(offer.sections)
    ]
    kept = {mine.sending.key for _, mine in pairs if mine is not None and mine.sending is not None}
    unplaced = [track for track in tracks if track.key not in kept]
    streams = {(mine.kind, mine.stream) for section, mine in pairs if mine is not None and not section.rejected}
    sections: list[Negotiated] = []
    for section, mine in pairs:
        sending = mine.sending if mine is not None and _wanted(mine.sending, wanted) else None
        codecs = codec_table.supported(section.codecs)
        if section.rejected or not codecs:
            # A track that was sent here counts as refused, and is not offered again and again.
            sections.append(
                Negotiated(
                    section.kind,
                    section.protocol,
                    section.mid,
                    stopped=True,
                    formats=section.formats,
                    sending=sending,
                )
            )
            continue
        stream = mine.stream if mine is not None else -1
        if slot_mode:
            if stream < 0 and section.direction == "recvonly":
                stream = next(n for n in count() if (section.kind, n) not in streams)
                streams.add((section.kind, stream))
            sending = _slot(section.kind, stream) if stream >= 0 else None
        elif sending is None and section.receives:
            track = next((track for track in unplaced if track.kind == section.kind), None)
            if track is not None:
                unplaced.remove(track)
                sending = _sending(track)
        ssrc, rtx_ssrc = (mine.ssrc, mine.rtx_ssrc) if mine is not None else (0, 0)
        if sending is not None:
            ssrc, rtx_ssrc = _own_ssrcs(mine, codecs, local)
        encodings = _encodings(section, codecs)
        unused = UNUSED if encodings else UNUSED | RID_EXTENSIONS
        sections.append(
            Negotiated(
                kind=section.kind,
                protocol=section.protocol,
                mid=section.mid,
                codecs=codecs,
                extensions=tuple(e for e in section.extensions if e.uri not in unused),
                extmap_allow_mixed=section.extmap_allow_mixed,
                client_sends=section.sends,
                client_receives=section.receives,
                client_ssrcs=announced(section.ssrcs, section.simulcast_ssrcs, section.repairs),
                encodings=encodings,
                sending=sending,
                ssrc=ssrc,
                rtx_ssrc=rtx_ssrc,
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
    known = dict(session.codecs)
    for track in tracks:
        if track.key in placed:
            continue
        reports = TRANSPORT_CC_EXTENSION in session.extension_ids
        codecs = codec_table.renumber(track.codecs, known, transport_cc=reports)
        extensions = _known_extensions((*track.extensions, TRANSPORT_CC_EXTENSION), session.extension_ids)
        index = next((i for i, section in enumerate(sections) if _is_free(section, track.kind)), len(sections))
        if index == len(sections):
            mid = _new_mid(sections)
            sections.append(Negotiated(track.kind, "UDP/TLS/RTP/SAVPF", mid, client_receives=True))
        section = sections[index]
        codecs = _merge_codecs(section.codecs, codecs)
        ssrc, rtx_ssrc = _own_ssrcs(section, codecs, local)
        sections[index] = replace(
            section,
            stopped=not codecs,  # the client has used up all numbers; the section only keeps the track's place
            codecs=codecs,
            extensions=_merge_extensions(section.extensions, extensions),
            extmap_allow_mixed=True,
            sending=_sending(track),
            ssrc=ssrc,
            rtx_ssrc=rtx_ssrc,
        )
    offered = Session(tuple(sections), session.remote, session.version + 1, session.extension_ids, known)
    return offered, _describe(offered, local, setup="actpass", inviting=True)


def accept_answer(offered: Session, answer: Description, *, max_up_tracks: int = 8) -> Session:
    """The session after the client's answer to `make_offer`; what it publishes past the limit is left out.

    Raises NegotiationError.
    """
    if len(answer.sections) != len(offered.sections):
        raise NegotiationError("invalid-sdp", "The answer has another number of m-sections than the offer.")
    _check_transport(answer)
    remote = _remote_of(answer, offered)
    extension_ids, known = _adopt_numbering(offered, answer)
    sections = []
    for mine, theirs in zip(offered.sections, answer.sections, strict=True):
        if mine.kind != theirs.kind or (mine.mid != theirs.mid and not theirs.rejected):
            raise NegotiationError("invalid-sdp", "The m-sections of the answer are not those of the offer.")
        codecs = codec_table.supported(theirs.codecs)
        if mine.stopped or theirs.rejected or not codecs:
            # `sending` stays, so that a track that this client refuses is not offered to it again and again.
            stopped = Negotiated(mine.kind, mine.protocol, mine.mid, stopped=True, formats=mine.formats)
            sections.append(replace(stopped, sending=mine.sending))
            continue
        accepted = {(extension.id, extension.uri) for extension in theirs.extensions}
        # Only slots were not offered for sending.
        may_send = (mine.client_sends or mine.stream < 0) and sum(s.client_sends for s in sections) < max_up_tracks
        sections.append(
            replace(
                mine,
                codecs=codecs,
                extensions=tuple(
                    extension for extension in mine.extensions if (extension.id, extension.uri) in accepted
                ),
                client_sends=theirs.sends and may_send,
                client_receives=theirs.receives if mine.sending is not None else mine.client_receives,
                client_ssrcs=announced(theirs.ssrcs, theirs.simulcast_ssrcs, theirs.repairs),
                # An answer takes encodings away, and adds none (RFC 8853 section 5.3.3).
                encodings=tuple(e for e in _encodings(theirs, codecs) if e.rid in {own.rid for own in mine.encodings}),
            )
        )
    return Session(tuple(sections), remote, offered.version, extension_ids, known)


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


def _remote_of(description: Description, session: Session) -> Remote | None:
    if description.ice_lite:
        raise NegotiationError("unsupported-transport", "The server is ICE-lite, so the client cannot be.")
    usable = {s.mid: s for s in description.sections if not s.rejected and codec_table.supported(s.codecs)}
    # RFC 9143 section 7.3: the transport is that of the first section of the group that is accepted.
    tagged = next((usable[mid] for mid in description.bundle if mid in usable), None)
    if tagged is None:
        return session.remote
    if not tagged.ice_ufrag or not tagged.ice_pwd:
        raise NegotiationError("invalid-sdp", "The a=ice-ufrag or the a=ice-pwd is missing.")
    if not any(name in _HASHES for name, _ in tagged.fingerprints):
        raise NegotiationError("invalid-sdp", "There is no a=fingerprint with sha-256, sha-384 or sha-512.")
    if session.remote is not None and session.remote.fingerprints == tagged.fingerprints:
        role = session.remote.dtls_role  # the association goes on (RFC 8842 section 5)
    else:
        # Passive wherever the client allows it: the DTLS server picks the SRTP profile.
        role = "client" if tagged.setup == "passive" else "server"
    return Remote(tagged.ice_ufrag, tagged.ice_pwd, tagged.fingerprints, role)


def _adopt_numbering(session: Session, description: Description) -> tuple[dict[str, int], dict[int, Codec]]:
    """The client's numbers win: within one BUNDLE a number means the same in all m-sections."""
    extension_ids: dict[str, int] = {}
    codecs: dict[int, Codec] = {}
    for section in description.sections:
        for extension in section.extensions:
            if extension_ids.setdefault(extension.uri, extension.id) != extension.id:
                raise NegotiationError("invalid-sdp", "One header extension has two ids within the bundle.")
        for codec in section.codecs:
            other = codecs.setdefault(codec.payload_type, codec)
            if other is not codec and codec_table.codec_key(codec) != codec_table.codec_key(other):
                raise NegotiationError("invalid-sdp", "One payload type has two meanings within the bundle.")
    if len(set(extension_ids.values())) != len(extension_ids):
        raise NegotiationError("invalid-sdp", "One id stands for two header extensions within the bundle.")
    taken = set(extension_ids.values())
    for uri, id_ in session.extension_ids.items():
        if uri not in extension_ids and id_ not in taken:
            extension_ids[uri] = id_
    keys = {codec_table.codec_key(codec) for codec in codecs.values()} - {None}
    kept = {
        payload_type: codec
        for payload_type, codec in session.codecs.items()
        if payload_type not in codecs and codec_table.codec_key(codec) not in keys
    }
    # Retransmissions are kept with what they repair, and only with that; so is redundant audio with what it carries.
    return extension_ids, codecs | {
        payload_type: codec
        for payload_type, codec in kept.items()
        if codec_table.stands_on(codec) in kept
        or (codec_table.stands_on(codec) is None and codec_table.codec_key(codec) is not None)
    }


def _wanted(sending: Sending | None, wanted: dict[str, Track]) -> bool:
    return sending is not None and sending.key in wanted


def _is_free(section: Negotiated, kind: str) -> bool:
    return section.kind == kind and not section.stopped and section.sending is None and section.client_receives


def _encodings(section: Section, codecs: Sequence[Codec]) -> tuple[Encoding, ...]:
    return acceptable(section.sent_encodings, [codec.payload_type for codec in codecs]) if section.sends else ()


def _own_ssrcs(section: Negotiated | None, codecs: Sequence[Codec], local: Local) -> tuple[int, int]:
    """The SSRCs to send with in a section: of the media, and of retransmissions where the client takes them."""
    ssrc, rtx_ssrc = (section.ssrc, section.rtx_ssrc) if section is not None else (0, 0)
    repairable = bool(codec_table.repair_types(codecs))
    return ssrc or local.new_ssrc(), (rtx_ssrc or local.new_ssrc()) if repairable else 0


def _sending(track: Track) -> Sending:
    return Sending(track.key, track.stream_id, track.track_id, track.cname)


def _slot(kind: str, stream: int) -> Sending:
    # Audio k and video k share a stream: browsers synchronise only what names the same one.
    name = f"slot-{stream}"
    return Sending(None, name, f"{name}-{kind}", name)


def _new_mid(sections: Sequence[Negotiated]) -> str:
    used = {section.mid for section in sections}
    return next(mid for n in range(len(sections) + 1) if (mid := f"s{n}") not in used)


def _known_extensions(uris: Iterable[str], extension_ids: dict[str, int]) -> tuple[Extension, ...]:
    """Those that the client has numbered itself; no number of the server's own is safe with every browser.

    Chromium keeps the ids of an offer that it rolled back, and refuses one of them that means something else; ids that
    it never uses, from 15 on, need two-byte headers (RFC 8285 section 4.3), which Firefox 153 refuses.
    """
    return tuple(Extension(extension_ids[uri], uri) for uri in uris if uri in extension_ids)


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


def _describe(session: Session, local: Local, *, setup: str, inviting: bool = False) -> Description:
    """What the server says of a session; `inviting` clients to send in any section but slots.

    A browser whose page adds a track while an offer is answered puts it into an m-section of that offer, and does not
    ask for a negotiation again: what does not invite it to send there keeps the track silent for ever.
    """
    sections: list[Section] = []
    live = [agreed.mid for agreed in session.sections if not agreed.stopped]
    # The bundle's transport is told by its first section (RFC 9143); aiortc reads the candidates of its last.
    with_candidates = {*live[:1], *live[-1:]}
    for agreed in session.sections:
        if agreed.stopped:
            sections.append(Section(agreed.kind, 0, agreed.protocol, agreed.mid, agreed.formats))
            continue
        sending = agreed.sending if agreed.client_receives else None
        sections.append(
            Section(
                kind=agreed.kind,
                port=_DISCARD_PORT,
                protocol=agreed.protocol,
                mid=agreed.mid,
                formats=tuple(str(codec.payload_type) for codec in agreed.codecs),
                direction=_direction(
                    send=sending is not None, receive=agreed.client_sends or (inviting and agreed.stream < 0)
                ),
                codecs=agreed.codecs,
                extensions=tuple(Extension(e.id, e.uri, _REVERSED[e.direction]) for e in agreed.extensions),
                extmap_allow_mixed=agreed.extmap_allow_mixed,
                msid=(sending.stream_id, sending.track_id) if sending else None,
                ssrcs=(agreed.ssrc,) if sending else (),
                repairs=((agreed.ssrc, agreed.rtx_ssrc),) if sending and agreed.rtx_ssrc else (),
                received_encodings=agreed.encodings,
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
