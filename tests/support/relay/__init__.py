"""The network between client and server, for tests: loss, delay, jitter, reordering, thin links, moves, pauses.

    async with Relay(up=Profile(loss=0.05, delay_ms=40), seed=7) as relay, serve(announce=[relay.announced]) as server:
        relay.set_server(("127.0.0.1", server.node.udp.port))
        ...
        relay.change(down=Profile(rate_bps=500_000))

"up" is from a client to the server. A client is an address that datagrams come from; a browser may have several, of
which one carries the media. By hand: `python -m tests.support.relay --help`.
"""

from tests.support.relay.client import Client
from tests.support.relay.departures import Drop
from tests.support.relay.link import Counters, Link
from tests.support.relay.profile import Profile, ProfileError
from tests.support.relay.reach import OutOfReachError
from tests.support.relay.relay import Relay

__all__ = ["Client", "Counters", "Drop", "Link", "OutOfReachError", "Profile", "ProfileError", "Relay"]
