from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from zvonim_sfu.media import traces
from zvonim_sfu.media.traces import Traces

if TYPE_CHECKING:
    from pathlib import Path


def test_a_trace_is_a_file_of_lines(tmp_path: Path) -> None:
    trace = Traces(tmp_path / "new" / "directory").open("a/b+c")
    assert trace is not None
    trace.write("one\n")
    trace.write("two\n")
    trace.close()
    trace.close()
    trace.write("three\n")
    (file,) = (tmp_path / "new" / "directory").iterdir()
    assert file.name.endswith("-a_b_c.jsonl")
    assert file.read_text() == "one\ntwo\n"


def test_it_ends_at_a_whole_line_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_TRACE_BYTES", 10)
    trace = Traces(tmp_path).open("x")
    assert trace is not None
    for line in ("1234\n", "1234\n", "1\n", "\n"):
        trace.write(line)
    (file,) = tmp_path.iterdir()
    assert file.read_text() == "1234\n1234\n"


def test_the_oldest_give_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_TRACES", 3)
    (tmp_path / "notes.txt").touch()
    for name in ("20200101T000000-a.jsonl", "20200102T000000-b.jsonl", "20200103T000000-c.jsonl"):
        (tmp_path / name).touch()
    trace = Traces(tmp_path).open("d")
    assert trace is not None
    trace.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.rpartition("-")[2] for name in names] == ["b.jsonl", "c.jsonl", "d.jsonl", "notes.txt"]


def test_what_cannot_be_written_is_no_trace(tmp_path: Path) -> None:
    directory = Traces(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert directory.open("x") is None
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"No traces can be kept in .*exists"):
        Traces(tmp_path / "file")


def test_a_full_disk_ends_it() -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        trace = traces.Trace(full)
        trace.write("x" * 100_000)
        trace.write("y\n")
