"""People come, publish, mute, vanish and return at random over lossy links, and nothing is left behind.

    python -m tests.soak --seconds 3600 [--seed 7]

prints its seed, and does the same again with it. `make test` runs it for a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from typing import TYPE_CHECKING, Final, TypedDict

import aiohttp

from tests.support.documented_client import DocumentedClient
from tests.support.eventually import until
from tests.support.in_process import InProcess, living_objects, serve
from tests.support.relay import Profile, Relay

if TYPE_CHECKING:
    from collections import Counter

PEOPLE: Final = 6
ROOMS: Final = ("red", "blue")
COLOURS: Final = ((200, 30, 30), (30, 170, 30), (30, 30, 200))
LINK: Final = Profile(loss=0.02, delay_ms=10, jitter_ms=3, duplicate=0.01)
LIMITS: Final = {
    # A reload takes less even on a machine that does other things too.
    "grace_s": 5.0,
    "empty_room_s": 0.5,
    "join_timeout_s": 2.0,
    "joins_per_second": 1000.0,
    "join_burst": 1000,
}


class Media(TypedDict):
    """What somebody publishes."""

    colour: tuple[int, int, int] | None
    hertz: float


class Soak:
    """One run: who is there now, and what may happen next."""

    def __init__(self, seed: int, server: InProcess, http: aiohttp.ClientSession) -> None:
        self.done: dict[str, int] = {}
        self._chance = random.Random(seed)
        self._server = server
        self._http = http
        self._present: list[DocumentedClient] = []
        self._actions = (
            self.come,
            self.come,
            self.come_and_never_open,
            self.leave,
            self.mute,
            self.return_,
            self.talk,
            self.vanish,
        )

    async def step(self) -> None:
        """Let one thing happen."""
        action = self._chance.choice(self._actions)
        if action == self.come and len(self._present) >= PEOPLE:
            action = self.leave
        if self._present or action in (self.come, self.come_and_never_open):
            await action()
            self.done[action.__name__] = self.done.get(action.__name__, 0) + 1

    def _one(self) -> DocumentedClient:
        return self._chance.choice(self._present)

    async def come(self) -> None:
        """Join a room; most publish, some only watch."""
        client = await DocumentedClient.enter(
            self._http,
            self._server.url,
            self._chance.choice(ROOMS),
            "Somebody",
            nested=self._chance.random() < 0.5,
            **self._media(),
        )
        self._present.append(client)

    def _media(self) -> Media:
        watches = self._chance.random() < 0.3
        return {
            "colour": None if watches else self._chance.choice(COLOURS),
            "hertz": self._chance.choice((330, 440, 660)),
        }

    async def return_(self) -> None:
        """Reload the page: the same participant is back, perhaps without a camera."""
        await self._one().reload("Somebody", **self._media())

    async def come_and_never_open(self) -> None:
        """Join by REST alone: the join timeout ends it."""
        body = {"room_id": self._chance.choice(ROOMS), "user_name": "Ghost"}
        async with self._http.post(f"{self._server.url}/api/room/join", json=body) as response:
            assert response.status == 200

    async def mute(self) -> None:
        """Mute a track, or one that is not there."""
        await self._one().send("track-muted", track_id="microphone", muted=self._chance.random() < 0.5)

    async def talk(self) -> None:
        """Say something to a member of the same room, or of another one."""
        await self._one().send("offer", to=self._one().user_id, sdp="v=0 past the server")

    async def leave(self) -> None:
        """Leave as one should."""
        client = self._one()
        self._present.remove(client)
        await client.leave()

    async def vanish(self) -> None:
        """Go without a word: the grace time ends it."""
        client = self._one()
        self._present.remove(client)
        await client.close()

    async def end(self) -> None:
        """Let everybody leave."""
        while self._present:
            await self.leave()


async def soak(seconds: float, seed: int) -> dict[str, int]:
    """Run for a while; returns how often what happened. Raises AssertionError or TimeoutError if something stays."""
    relay = Relay(up=LINK, down=LINK, seed=seed)
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        relay,
        serve(announce=[relay.announced], **LIMITS) as server,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        relay.set_server(("127.0.0.1", server.node.udp.port))
        run = Soak(seed, server, http)
        # What is made once and kept for the next is made now.
        await run.come()
        await run.end()
        await until(lambda: not server.registry.rooms)
        before = _kept(living_objects())
        loop = asyncio.get_running_loop()
        tasks = len(asyncio.all_tasks())
        end_at = loop.time() + seconds
        while loop.time() < end_at:
            await run.step()
            assert len(server.node.udp._agents) <= PEOPLE + 20
            await asyncio.sleep(0.1)
        await run.end()
        await until(lambda: not server.registry.rooms and not server.node.udp._agents, 20)
        assert not server.node._ssrcs
        try:
            await until(lambda: _kept(living_objects()) == before and len(asyncio.all_tasks()) <= tasks, 20)
        except TimeoutError:
            now = _kept(living_objects())
            more = {name: more for name in now | before if (more := now.get(name, 0) - before.get(name, 0))}
            raise AssertionError(f"left behind: {more}, and more than {tasks} of {asyncio.all_tasks()}") from None
        return run.done


def _kept(objects: Counter[str]) -> dict[str, int]:
    """Living objects but for the addresses whose joins are counted, which are kept for a while on purpose."""
    return {name: count for name, count in objects.items() if name != "TokenBucket"}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)  # noqa: T201 - to run it again
    print(asyncio.run(soak(options.seconds, options.seed)))  # noqa: T201


if __name__ == "__main__":
    main()
