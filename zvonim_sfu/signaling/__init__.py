"""The documented REST and WebSocket interface."""
