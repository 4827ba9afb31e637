"""A discrete-event simulator of links and what shares them: virtual time, seeded, no sockets."""
