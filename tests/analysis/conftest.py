"""What tests of several files here share."""

import pytest

from analysis import stats
from analysis.reproduce import result, runs
from tests.support.fake_simulator import Simulator


@pytest.fixture
def two_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of two devices, too: all that a draw can hold is known then, and the ends are the devices' own."""
    monkeypatch.setattr(stats, "FEWEST", 2)


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Simulator:
    fake = Simulator()
    monkeypatch.setattr(runs, "execute", fake)
    monkeypatch.setattr(result, "paint", lambda *_: None)  # seconds a picture
    return fake
