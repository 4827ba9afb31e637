"""The shared UDP port, the ICE-lite agent and the packet kernel."""
