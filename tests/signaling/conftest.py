from __future__ import annotations

import pytest

from tests.support.fake_peer import FakePeer


@pytest.fixture
def no_media(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zvonim_sfu.rooms.participant.Peer", FakePeer)
