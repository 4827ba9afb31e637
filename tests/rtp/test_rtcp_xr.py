from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvonim_sfu.rtp.rtcp import parse_compound
from zvonim_sfu.rtp.rtcp_reports import RtcpError
from zvonim_sfu.rtp.rtcp_xr import MAX_ANSWERS, ExtendedReport, ReferenceTimeAnswer

ANSWER = ReferenceTimeAnswer(2, 0x11223344, 65536)


@pytest.mark.parametrize(
    ("report", "data"),
    [
        (ExtendedReport(1), "80cf0001 00000001"),
        # RFC 3611, sections 4.4 and 4.5
        (ExtendedReport(1, 0x1122334455667788), "80cf0004 00000001 04000002 11223344 55667788"),
        (ExtendedReport(1, None, (ANSWER,)), "80cf0005 00000001 05000003 00000002 11223344 00010000"),
        (
            ExtendedReport(1, 0, (ANSWER, ANSWER)),
            "80cf000b 00000001 04000002 0000000000000000 05000006" + " 00000002 11223344 00010000" * 2,
        ),
    ],
)
def test_bytes_on_the_wire(report: ExtendedReport, data: str) -> None:
    assert report.pack() == bytes.fromhex(data)
    assert parse_compound(bytes.fromhex(data)) == [report]


@pytest.mark.parametrize(
    ("body", "report"),
    [
        ("00000001 2a000001 01020304", ExtendedReport(1)),  # another block
        ("00000001 01000000 04ff0002 0000000000000005", ExtendedReport(1, 5)),
        ("00000001 05000000", ExtendedReport(1)),
        ("00000001 05000003 00000002 11223344 00010000" * 1, ExtendedReport(1, None, (ANSWER,))),
    ],
)
def test_what_others_send(body: str, report: ExtendedReport) -> None:
    assert ExtendedReport.parse(0, bytes.fromhex(body)) == report


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "RTCP extended report is too short"),
        ("00000001 04", "RTCP extended report ends in the header of a block"),
        ("00000001 04000002 00000000", "RTCP extended report ends in a block"),
        ("00000001 04000001 00000000", "RTCP extended report has a reference time of a wrong length"),
        ("00000001 05000002 0000000000000000", "RTCP extended report has answers of a wrong length"),
        ("00000001 05000099" + "00" * 4 * 0x99, "RTCP extended report has too many answers"),
    ],
)
def test_refuses_with_a_sentence(body: str, sentence: str) -> None:
    with pytest.raises(RtcpError) as caught:
        ExtendedReport.parse(0, bytes.fromhex(body))
    assert str(caught.value) == sentence


def test_more_answers_than_fit_are_not_packed() -> None:
    assert ExtendedReport(1, None, (ANSWER,) * MAX_ANSWERS).pack()
    with pytest.raises(RtcpError):
        ExtendedReport(1, None, (ANSWER,) * (MAX_ANSWERS + 1)).pack()


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"\0\0\0\1\5\0\0" + data))
def test_any_bytes_are_a_report_or_an_rtcp_error(body: bytes) -> None:
    try:
        report = ExtendedReport.parse(0, body)
    except RtcpError:
        return
    assert ExtendedReport.parse(0, report.pack()[4:]) == report
