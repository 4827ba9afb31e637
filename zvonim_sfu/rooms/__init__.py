"""Who is in which room and who receives what; no sockets, no SDP."""
