"""RTP and RTCP on bytes: no I/O, no asyncio, no clock."""
