"""`python -m benchmarks`: measure Zvonim alone or beside others, look for its limits, write down what came of it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import report, results
from benchmarks import servers as adapters
from benchmarks.capacity import limits
from benchmarks.machine import network
from benchmarks.micro import micro
from benchmarks.progress import Progress
from benchmarks.servers import ServerError
from benchmarks.session import Session, session
from benchmarks.shapes import STANDARD

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

_DEFAULT_RESULT: Final = Path("build/benchmarks.json")
_EXIT_ENDED: Final = 128 + signal.SIGTERM
"""As a shell tells of who was ended by it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return _EXIT_ENDED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def measuring(
        name: str, run: Callable[[argparse.Namespace], int], text: str, servers: str
    ) -> argparse.ArgumentParser:
        added = command(name, run, text)
        added.add_argument(
            "--servers", default=servers, help=f"names, of {', '.join(adapters.names())} (default %(default)s)"
        )
        added.add_argument(
            "--command", action="append", default=[], metavar="NAME=PATH", help="another executable of a server"
        )
        added.add_argument(
            "--output", type=Path, default=_DEFAULT_RESULT, help="JSON file to write (default %(default)s)"
        )
        added.add_argument(
            "--arrivals",
            action="store_true",
            help="let receivers report on transport-wide numbers, so that the server estimates their links",
        )
        return added

    everything = measuring("all", _all, "The standard set, in less than ten minutes.", "zvonim,janus,janus_loops")
    _with_rounds(everything, rounds=3, seconds=2.0)
    compared = measuring(
        "compare", _compare, "The shapes side by side, in interleaved rounds.", "zvonim,janus,janus_loops"
    )
    _with_rounds(compared, rounds=5, seconds=4.0)
    alone = measuring("run", _compare, "The shapes on Zvonim alone.", "zvonim")
    _with_rounds(alone, rounds=3, seconds=3.0)
    measuring("people", _people, "What joins and participants cost: CPU, waiting, memory.", "zvonim,janus")
    card = measuring(
        "capacity", _capacity, "How far a server can be loaded: the capacity card of this machine.", "zvonim"
    )
    card.add_argument("--limits", action="store_true", help="print the settings of zvonim-sfu that follow from it")
    card.add_argument("--picture", type=Path, help="SVG file to write")
    measuring("large", _large, "How many people a call may have in which everybody publishes and sees nine.", "zvonim")
    command("micro", _micro, "What single steps of the packet path take.")
    reported = command("report", _report, "A result file as tables.")
    reported.add_argument("file", type=Path, nargs="?", default=report.REFERENCE, help="default %(default)s")
    reported.add_argument("--write", action="store_true", help="write them into the README, and the pictures beside it")
    command("schema", _schema, "Write the JSON Schema of result files.")
    return parser


def _with_rounds(parser: argparse.ArgumentParser, *, rounds: int, seconds: float) -> None:
    parser.add_argument("--rounds", type=int, default=rounds, help="of each shape and server (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="of each round (default %(default)s)")
    parser.add_argument("--shapes", help=f"names, of {', '.join(shape.name for shape in STANDARD)} (default all)")


def _all(options: argparse.Namespace) -> int:
    async def measure(run: Session) -> None:
        run.progress.begin("steps of the packet path")
        run.results.micro.extend(micro())
        await run.shapes(STANDARD, options.rounds, options.seconds)
        await run.churn()
        await run.memory()
        run.commands = {name: path for name, path in run.commands.items() if name == report.OWN}
        await run.capacity()

    return _measure(options, measure)


def _compare(options: argparse.Namespace) -> int:
    wanted = options.shapes.split(",") if options.shapes else [shape.name for shape in STANDARD]
    unknown = set(wanted) - {shape.name for shape in STANDARD}
    if unknown:
        raise ServerError(f"There is no shape {', '.join(unknown)}.")
    shapes = [shape for shape in STANDARD if shape.name in wanted]
    return _measure(options, lambda run: run.shapes(shapes, options.rounds, options.seconds))


def _people(options: argparse.Namespace) -> int:
    async def measure(run: Session) -> None:
        await run.churn()
        await run.memory()

    return _measure(options, measure)


def _capacity(options: argparse.Namespace) -> int:
    def also(found: results.Results) -> None:
        if options.picture is not None:
            options.picture.write_text(report.load_picture(found))
        if options.limits:
            card = found.capacity[report.OWN]
            print("\n".join(["", *limits(card.knees, card.joins_per_s)]))

    return _measure(options, lambda run: run.capacity(), also)


def _large(options: argparse.Namespace) -> int:
    return _measure(options, lambda run: run.large_call())


def _measure(
    options: argparse.Namespace,
    measure: Callable[[Session], Coroutine[object, object, None]],
    also: Callable[[results.Results], None] = lambda _: None,
) -> int:
    """Measure, print the tables and write the file."""
    progress = Progress()
    commands = _commands(options, progress)

    with network() as host:
        made = session(host, commands, progress, reports_arrivals=options.arrivals)
        try:
            asyncio.run(_unless_ended(measure(made)))
        finally:
            # What was measured before something failed, or the run was interrupted, took its time too.
            print(report.plain(made.results))
            options.output.parent.mkdir(parents=True, exist_ok=True)
            results.write(made.results, options.output)
            print(f"\nwritten to {options.output}")
    also(made.results)
    return 0


async def _unless_ended(work: Coroutine[object, object, None]) -> None:
    """Do this; signals cancel it, so that the servers that it started end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    # SIGINT too: a shell has what it starts in the background ignore that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    await work


def _commands(options: argparse.Namespace, progress: Progress) -> dict[str, str]:
    """Return what to start by name; servers that are not installed are left out. Raises ServerError."""
    paths = dict(text.split("=", 1) for text in options.command)
    commands = {}
    for name in options.servers.split(","):
        if name not in adapters.names():
            raise ServerError(f"There is no adapter {name}; there are {', '.join(adapters.names())}.")
        if missing := adapters.adapter(name).missing():
            progress.say(f"{name} is left out: {missing}")
            continue
        commands[name] = paths.get(name, "")
    return commands


def _micro(_: argparse.Namespace) -> int:
    print(report.micro_table(micro()))
    return 0


def _report(options: argparse.Namespace) -> int:
    found = results.read(options.file)
    part = report.readme(found)
    if not options.write:
        print(report.plain(found))
        return 0
    report.README.write_text(report.with_part(report.README.read_text(), part))
    for path, picture in report.pictures(found).items():
        path.write_text(picture)
    return 0


def _schema(_: argparse.Namespace) -> int:
    results.SCHEMA.write_text(results.schema())
    return 0


if __name__ == "__main__":
    sys.exit(main())
