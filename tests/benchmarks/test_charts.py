"""The charts are SVG that a browser can draw."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks import charts


def texts(svg: str) -> list[str]:
    return [
        "".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")
    ]


def test_bars_are_labelled_with_their_values() -> None:
    svg = charts.bars("CPU", "µs", {"a < b": {"one": charts.Bar(2.0, 1.5, 2.5), "other": charts.Bar(4.0, 4.0, 4.0)}})
    assert texts(svg) == ["CPU", "one", "other", "a < b", "2.0 µs", "4.0 µs"]


def test_lines_stay_within_their_panel() -> None:
    panel = charts.Panel("ms", {"one": [(0, 0), (1000, 90)]}, limit=50)
    svg = charts.lines("Delay", "packets", [panel])
    (line,) = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("polyline")]
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert points[0][0] < points[1][0] <= charts.WIDTH
    assert points[0][1] > points[1][1] > 0
    assert "1,000" in texts(svg)
