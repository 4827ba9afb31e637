"""What is committed of results, schema, tables and pictures belongs together."""

from __future__ import annotations

import json

import pytest

from benchmarks import report, results
from benchmarks.__main__ import main
from benchmarks.capacity import LADDERS, limits
from benchmarks.results import Knee, LargeCall, LargeCallStep, Quantiles
from zvonim_sfu.config import load


def test_the_schema_is_that_of_the_models() -> None:
    assert results.SCHEMA.read_text() == results.schema(), "run: python -m benchmarks schema"


def test_the_committed_result_is_one() -> None:
    found = results.read(report.REFERENCE)
    assert found.format == results.FORMAT
    assert report.OWN in found.servers


def test_the_readme_shows_the_committed_result() -> None:
    text = report.README.read_text()
    part = report.readme(results.read(report.REFERENCE))
    assert text == report.with_part(text, part), "run: python -m benchmarks report --write"


def test_joins_and_leaves_are_told_apart_where_that_was_measured() -> None:
    found = results.read(report.REFERENCE)
    churn = {
        name: [each.model_copy(update={"join_cpu_ms": None, "leave_cpu_ms": None}) for each in churns]
        for name, churns in found.churn.items()
    }
    assert "join / leave alone" not in report.people_table(found.model_copy(update={"churn": churn}))
    last = churn[report.OWN][-1]
    churn[report.OWN][-1] = last.model_copy(update={"join_cpu_ms": 7.12, "leave_cpu_ms": 1.96})
    lines = report.people_table(found.model_copy(update={"churn": churn})).splitlines()
    (line,) = [line for line in lines if "join / leave alone" in line]
    assert line.split("|")[2:] == [" 7.1 / 2.0 ", *["  "] * (len(found.servers) - 1), ""]
    assert f"a join to a room of {last.present} and the leave" in lines[lines.index(line) - 1]


def test_the_pictures_are_those_of_the_committed_result() -> None:
    for path, picture in report.pictures(results.read(report.REFERENCE)).items():
        assert path.read_text() == picture, "run: python -m benchmarks report --write"


def test_a_result_is_read_as_it_was_written() -> None:
    found = results.read(report.REFERENCE)
    assert results.Results.model_validate(json.loads(found.model_dump_json())) == found


def test_quantiles_of_nothing_and_of_something() -> None:
    assert Quantiles.of([]).max == 0
    found = Quantiles.of([float(number) for number in range(100, 0, -1)])
    assert (found.p50, found.p99, found.max, found.count) == (51, 100, 100, 100)


def test_limits_are_settings_that_the_server_takes() -> None:
    knees = [
        Knee(
            shape=ladder.shape.name,
            title="",
            steps={},
            participants=20,
            is_limit=True,
            forwarded_per_s=1.0,
            packets_per_core_s=1.0,
        )
        for ladder in LADDERS
    ]
    flags = dict(line.removeprefix("--").replace("-", "_").split("=") for line in limits(knees, 50.0))
    assert load(flags).settings.limits.participants_per_room == 20


@pytest.mark.parametrize(
    "command", ["all", "compare", "run", "people", "capacity", "large", "micro", "report", "schema"]
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "usage:" in capsys.readouterr().out


def test_a_large_call_has_its_place_among_the_results() -> None:
    found = results.read(report.REFERENCE)
    round_ = found.shapes[0].rounds["zvonim"][0]
    found.large_call = LargeCall(
        steps=[LargeCallStep(participants=100, encodings=106, rounds=[round_])],
        plain=[round_, round_],
        meetings=[round_],
        not_carried=200,
    )
    said = report.plain(results.Results.model_validate_json(found.model_dump_json()))
    for row in ("| 100 | 106 |", "| plain fan-out |", "| plain meetings |", "| 200: more than"):
        assert row in said
