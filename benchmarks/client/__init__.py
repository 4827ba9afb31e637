"""The load generator: many light WebRTC clients in one process, with real ICE, DTLS and SRTP."""
