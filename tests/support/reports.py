"""Reports as the estimator reads them, of what a test says that was sent and came."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from zvonim_sfu.bandwidth.reports import Report

if TYPE_CHECKING:
    from collections.abc import Sequence


def report_of(
    sent_at: Sequence[float],
    arrived_at: Sequence[float],
    sizes: Sequence[int],
    *,
    numbers: Sequence[int] | None = None,
    missing: int = 0,
    missing_bytes: int = 0,
    recovered: int = 0,
) -> Report:
    """Return the report of packets with these numbers, by default from 0 on."""
    return Report(
        range(len(sent_at)) if numbers is None else numbers,
        array("d", sent_at),
        array("d", arrived_at),
        array("H", sizes),
        missing,
        missing_bytes,
        recovered,
    )
