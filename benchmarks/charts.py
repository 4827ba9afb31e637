"""Charts as SVG, written by hand: they need no library, and follow the reader's light or dark theme."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 760
_BAR: Final = 16
_GAP: Final = 18
_LABELS: Final = 300
_TOP: Final = 58
_COLOURS: Final = ("#2f6fde", "#d9822b", "#8a8f98", "#3c9d6d")
_STYLE: Final = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:15px}.m{fill:#6e7781}"
    ".a{stroke:#d0d7de}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.a{stroke:#3d444d}}</style>"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with its spread."""

    value: float
    low: float
    high: float


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, Bar]]) -> str:
    """Draw horizontal bars: a group for each label, in it a bar for each series, with its spread as a line."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    most = max(bar.high for group in groups.values() for bar in group.values())
    scale = (WIDTH - _LABELS - 80) / most
    parts = [*_title(title), *_legend(series)]
    y = float(_TOP)
    for label, group in groups.items():
        parts.append(_text(_LABELS - 12, y + _BAR * len(group) / 2 + 4, label, anchor="end"))
        for name, bar in group.items():
            length = bar.value * scale
            middle = y + _BAR / 2
            parts.append(
                f'<rect x="{_LABELS}" y="{y + 1:.1f}" width="{length:.1f}" height="{_BAR - 2}" rx="2" '
                f'fill="{_colour(series, name)}"/>'
            )
            parts.append(_line(_LABELS + bar.low * scale, middle, _LABELS + bar.high * scale, middle))
            at = _LABELS + max(length, bar.high * scale) + 6
            parts.append(_text(at, middle + 4.5, f"{bar.value:.1f} {unit}", css="m"))
            y += _BAR
        y += _GAP
    return _svg(parts, y)


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over a common x axis."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """Points by series."""
    limit: float | None = None
    """A level to mark. The panel ends at twice that; what is above is drawn at its upper edge."""


def lines(title: str, x_title: str, panels: Sequence[Panel]) -> str:
    """Draw panels below each other; both axes begin at 0."""
    series = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    points = [x for panel in panels for line in panel.lines.values() for x, _ in line]
    x_ticks = _ticks(max(points))
    left, width, height = 60, WIDTH - 90, 150
    parts = [*_title(title), *_legend(series)]
    y = float(_TOP)
    for panel in panels:
        values = [value for line in panel.lines.values() for _, value in line]
        y_ticks = _ticks(max(values) if panel.limit is None else 2 * panel.limit)
        base = y + 20 + height
        parts.append(_text(left, y + 10, panel.title, css="m"))
        for tick in y_ticks:
            at = base - tick / y_ticks[-1] * height
            parts.append(f'<line class="a" x1="{left}" y1="{at:.1f}" x2="{left + width}" y2="{at:.1f}"/>')
            parts.append(_text(left - 8, at + 4, f"{tick:g}", css="m", anchor="end"))
        parts += [
            _text(left + tick / x_ticks[-1] * width, base + 18, f"{tick:,.0f}", css="m", anchor="middle")
            for tick in x_ticks
        ]
        if panel.limit is not None:
            at = base - panel.limit / y_ticks[-1] * height
            parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{left + width}" y2="{at:.1f}" stroke="#cf222e"/>')
        for name, line in panel.lines.items():
            path = " ".join(
                f"{left + px / x_ticks[-1] * width:.1f},{base - min(py, y_ticks[-1]) / y_ticks[-1] * height:.1f}"
                for px, py in line
            )
            parts.append(f'<polyline points="{path}" fill="none" stroke="{_colour(series, name)}" stroke-width="2"/>')
        y = base + 40
    parts.append(_text(left + width / 2, y, x_title, css="m", anchor="middle"))
    return _svg(parts, y + 10)


def _ticks(most: float, count: int = 5) -> list[float]:
    """Return round numbers from 0 to at least `most`."""
    step = most / count or 1.0
    magnitude = 10.0 ** floor(log10(step))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= step)
    return [step * number for number in range(ceil(most / step) + 1)]


def _colour(series: Sequence[str], name: str) -> str:
    return _COLOURS[series.index(name) % len(_COLOURS)]


def _title(title: str) -> list[str]:
    return [_text(12, 22, title, css="t")]


def _legend(series: Sequence[str]) -> list[str]:
    parts = []
    x = 12.0
    for name in series:
        parts.append(f'<rect x="{x:.0f}" y="33" width="11" height="11" rx="2" fill="{_colour(series, name)}"/>')
        parts.append(_text(x + 16, 43, name))
        x += 36 + 7.2 * len(name)
    return parts


def _text(x: float, y: float, text: str, *, css: str = "", anchor: str = "start") -> str:
    attributes = f' class="{css}"' if css else ""
    attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#24292f" stroke-opacity=".55"/>'


def _svg(parts: Sequence[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    return "\n".join([head, _STYLE, *parts, "</svg>"]) + "\n"
