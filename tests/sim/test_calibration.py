"""Detectors that are fed noise alarm at the rate they were given, on noise they were not calibrated on."""

import numpy as np
import pytest

from clients.policies import POLICIES, make
from sim.policy.calibration import Trial, calibrate, request_rate

SESSIONS, EVENTS, DEVICES = 9, 10, 150


def noise(seed: int) -> list[Trial]:
    """Devices whose interest wanders about one place and whose losses keep their distribution."""
    rng = np.random.default_rng(seed)
    trials = []
    for _ in range(DEVICES):
        interests = rng.normal(size=64) + 0.5 * rng.normal(size=(SESSIONS, 64))
        losses = [np.clip(rng.normal(0.6, 0.2, EVENTS), 0, 1) for _ in range(SESSIONS)]
        doubts = {row.tobytes(): value for row, value in zip(interests, rng.random(SESSIONS), strict=True)}
        trials.append(Trial(interests, losses, lambda stale, fresh, doubts=doubts: doubts[fresh.tobytes()]))
    return trials


@pytest.mark.parametrize("name", ["drift", "page-hinkley", "mrd"])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_a_detector_fed_noise_alarms_at_its_nominal_rate(name: str, rate: float) -> None:
    kind = POLICIES[name]
    threshold = calibrate(kind, rate, noise(0))
    assert request_rate(kind(threshold), noise(0)) <= rate
    chances = DEVICES * (SESSIONS - 1)
    # Both the calibration and the trial are samples: three standard deviations of their difference.
    tolerance = 3 * np.sqrt(2 * rate * (1 - rate) / chances)
    assert request_rate(kind(threshold), noise(1)) == pytest.approx(rate, abs=tolerance)


def test_adwin_cannot_be_brought_to_alarm_more_often_than_noise_makes_it() -> None:
    """Its bound is loose on tens of events: a budget that it does not use up gives its loosest confidence."""
    threshold = calibrate(POLICIES["adwin"], 0.2, noise(0))
    assert threshold == pytest.approx(1, abs=1e-6)
    assert request_rate(make("adwin:0.05"), noise(1)) <= 0.05


def test_calibration_by_hand() -> None:
    """One device whose interest turns by 10, 20, 30 and 40 degrees from the first: two of its four sessions."""
    angles = np.deg2rad([0, 10, 20, 30, 40])
    interests = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    trial = Trial(np.pad(interests, ((0, 0), (0, 62))), [])
    threshold = calibrate(POLICIES["drift"], 0.5, [trial])
    # Any distance from that of 10 degrees on asks at 20 and at 40 (20 from there); below it, in every session.
    assert threshold == pytest.approx(1 - np.cos(angles[1]), abs=1e-6)
    assert trial.requests(make(f"drift:{threshold!r}")) == 2
    assert trial.requests(make(f"drift:{threshold - 1e-5!r}")) == 4
    assert trial.requests(make("drift:0.1")) == 1


def test_losses_since_the_last_adaptation_are_those_the_detector_sees() -> None:
    calm, high = np.full(10, 0.1), np.full(10, 0.9)
    # The rise is in session 1: it is seen at the start of session 2, and not again from what follows.
    trial = Trial(np.zeros((5, 64)), [calm, high, high, high, high])
    assert trial.requests(make("page-hinkley:1")) == 1
    assert Trial(np.zeros((2, 64)), [calm, high]).requests(make("page-hinkley:1")) == 0
    assert Trial(np.zeros((3, 64)), [calm, high, high]).requests(make("page-hinkley:1")) == 1
