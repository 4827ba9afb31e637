"""The relay by hand.

    zvonim-sfu --media-host 127.0.0.1 --media-port 7882 --announce 127.0.0.1:9000
    python -m tests.support.relay --listen 127.0.0.1:9000 --to 127.0.0.1:7882 --loss 0.05 --delay 40 --jitter 10

It sends to loopback addresses only. Browsers have to use theirs too; Chromium does so with
--allow-loopback-in-peer-connection. While it runs, it reads commands, a line each:

    up loss=0.1 delay=80      change what the links to the server do; down: from it; both
    pause [up|down]           lose everything; resume
    move                      let the server see each client at another address
    counters                  what happened so far
    quit
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from tests.support.relay.link import PASS_THROUGH
from tests.support.relay.profile import Profile, ProfileError
from tests.support.relay.relay import Relay
from zvonim_sfu.net.addresses import AddressError, parse_announced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.relay.client import Address


class Console:
    """Runs commands. `up` and `down` are the profiles that they change."""

    def __init__(self, relay: Relay, up: Profile, down: Profile) -> None:
        self.quit = asyncio.Event()
        self._relay = relay
        self._profiles = {"up": up, "down": down}

    def run(self, line: str) -> str:
        """Run a command; return what to say."""
        command, _, rest = line.strip().partition(" ")
        match command, rest.strip():
            case "up" | "down" | "both", values:
                return self._change(["up", "down"] if command == "both" else [command], values)
            case "pause", "" | "up" | "down" as direction:
                self._relay.pause(up=direction != "down", down=direction != "up")
                return f"paused {direction or 'both'}"
            case "resume", "":
                self._relay.resume()
                return "resumed"
            case "move", "":
                self._relay.move()
                return "the server sees: " + ", ".join(str(client.seen_at) for client in self._relay.clients.values())
            case "counters", "":
                return self.counters()
            case "quit", "":
                self.quit.set()
                return "bye"
        return "commands: up, down or both NAME=VALUE...; pause [up|down]; resume; move; counters; quit"

    def counters(self) -> str:
        """What happened so far, in lines."""
        relay = self._relay
        ways = {"up": relay.up(), "down": relay.down()}
        lines = [f"{way:5}" + " ".join(f"{name} {n}" for name, n in asdict(c).items()) for way, c in ways.items()]
        late = relay.departures
        lines.append(f"relay {len(relay.clients)} clients, {late.late} late, worst {late.worst_late_s * 1000:.1f} ms")
        return "\n".join([*lines, *(f"      {n} lost: {reason}" for reason, n in relay.drops().items())])

    def _change(self, directions: Sequence[str], values: str) -> str:
        try:
            changed = {direction: self._profiles[direction].but(values) for direction in directions}
        except ProfileError as error:
            return str(error)
        self._profiles |= changed
        self._relay.change(**changed)
        return "\n".join(f"{direction}: {profile}" for direction, profile in changed.items())


async def serve(listen: Address, server: Address, up: Profile, down: Profile, seed: str) -> None:
    """Run until a signal or `quit`."""
    loop = asyncio.get_running_loop()
    async with Relay(listen, server, up=up, down=down, seed=seed) as relay:
        console = Console(relay, up, down)

        def on_lines() -> None:
            typed = os.read(sys.stdin.fileno(), 4096)
            if not typed:  # no terminal, or its end: run on without
                loop.remove_reader(sys.stdin)
            for line in typed.decode(errors="replace").splitlines():
                say(console.run(line))

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, console.quit.set)
        with contextlib.suppress(PermissionError):  # a file cannot be waited for
            loop.add_reader(sys.stdin, on_lines)
        say(f"{relay.announced} leads to {server[0]} port {server[1]}; seed {seed}\nup: {up}\ndown: {down}")
        await console.quit.wait()
        say(console.counters())


def say(text: str) -> None:
    """Write to standard output at once, for who reads it through a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def address(text: str) -> Address:
    """Read ADDRESS:PORT."""
    try:
        parsed = parse_announced(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if parsed.port is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no port")
    return parsed.address, parsed.port


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.relay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listen", type=address, required=True, metavar="ADDRESS:PORT", help="where clients send to")
    parser.add_argument("--to", type=address, required=True, metavar="ADDRESS:PORT", help="the server's media port")
    parser.add_argument("--seed", default="0", help="of all chance (0)")
    parser.add_argument("--up", default="", metavar="'NAME=VALUE ...'", help="of these, for one direction only")
    parser.add_argument("--down", default="", metavar="'NAME=VALUE ...'", help="likewise")
    both = parser.add_argument_group("the links, in both directions (a name may be cut short)")
    for field in fields(Profile):
        both.add_argument("--" + field.name.replace("_", "-"), metavar="VALUE", help=f"({field.default})")
    options = parser.parse_args(arguments)
    given = {field.name: getattr(options, field.name) for field in fields(Profile)}
    text = " ".join(f"{name}={value}" for name, value in given.items() if value is not None)
    try:
        profile = PASS_THROUGH.but(text)
        up, down = profile.but(options.up), profile.but(options.down)
        asyncio.run(serve(options.listen, options.to, up, down, options.seed))
    except (ProfileError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
