from __future__ import annotations

from typing import TYPE_CHECKING

from zvonim_sfu.bandwidth.estimator import Estimator
from zvonim_sfu.bandwidth.trace import Recorder
from zvonim_sfu.replay import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def record(path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        recorder = Recorder(Estimator(), file.write)
        for second in range(5):
            recorder.estimator.on_sent(1000, 10.0 + second)
            recorder.on_timer(10.5 + second)


def test_the_same_estimates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "trace")
    assert main([str(tmp_path / "trace")]) == 0
    printed = capsys.readouterr().out
    assert "600000" in printed
    assert printed.endswith("5 lines, 0 of them with another estimate\n")
    assert main(["--all", str(tmp_path / "trace")]) == 0


def test_other_estimates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "trace")
    lines = (tmp_path / "trace").read_text().replace('"bps": 600000', '"bps": 700000')
    (tmp_path / "trace").write_text(lines)
    assert main([str(tmp_path / "trace")]) == 1
    assert "0 of them" not in capsys.readouterr().out


def test_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trace").write_text("{}\n")
    assert main([str(tmp_path / "trace")]) == 2
    assert main([str(tmp_path / "nothing")]) == 2
    (tmp_path / "trace").write_bytes(b"\xff\xfe")
    assert main([str(tmp_path / "trace")]) == 2
    assert capsys.readouterr().err.count("\n") == 3
