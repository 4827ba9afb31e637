"""Transports, negotiation and tracks of one participant."""
