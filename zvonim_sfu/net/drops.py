"""The name of every reason for which a datagram is not delivered or not sent."""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Why a datagram was dropped; the values are the labels in statistics."""

    # On the way in.
    TOO_SHORT = "too-short"
    OVERSIZED = "oversized"
    UNKNOWN_PROTOCOL = "unknown-protocol"
    UNKNOWN_ADDRESS = "unknown-address"
    STUN_MALFORMED = "stun-malformed"
    STUN_NOT_A_CHECK = "stun-not-a-check"
    STUN_UNKNOWN_UFRAG = "stun-unknown-ufrag"
    STUN_UNAUTHENTICATED = "stun-unauthenticated"
    HANDSHAKE_LIMITED = "handshake-limited"
    DTLS_QUEUE_FULL = "dtls-queue-full"
    HANDLER_ERROR = "handler-error"
    RECEIVE_FAILED = "receive-failed"
    SRTP_TOO_EARLY = "srtp-too-early"
    SRTP_REFUSED = "srtp-refused"
    RTP_MALFORMED = "rtp-malformed"
    RTCP_MALFORMED = "rtcp-malformed"
    RTCP_LIMITED = "rtcp-limited"
    UNKNOWN_SSRC = "unknown-ssrc"

    # On the way out.
    NO_SESSION = "no-session"
    NO_PATH = "no-path"
    TOO_LONG = "too-long"
    PACER_FULL = "pacer-full"
    SUPERSEDED = "superseded"
    PROTECT_FAILED = "protect-failed"
    SOCKET_FULL = "socket-full"
    NO_BUFFERS = "no-buffers"
    SEND_FAILED = "send-failed"
