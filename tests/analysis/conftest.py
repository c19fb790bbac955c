"""What tests of several files here share."""

import pytest

from analysis.reproduce import result, runs
from tests.support.fake_simulator import Simulator


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Simulator:
    fake = Simulator()
    monkeypatch.setattr(runs, "execute", fake)
    monkeypatch.setattr(result, "paint", lambda *_: None)  # seconds a picture
    return fake
