"""Each request policy by hand, and that a detector that is fed noise alarms no more often than it says."""

from dataclasses import replace

import numpy as np
import pytest

from clients.decision import losses
from clients.policies import POLICIES, Observation, make, parse
from clients.policies.drift import cosine_distance
from clients.policies.every import Every

EAST, NORTH = np.eye(64, dtype=np.float32)[:2]
CALM = Observation(since=1, interest=EAST, sent=EAST, losses=np.zeros(0), draw=0.5, switch=-1, doubt=0.0)


def test_always_and_never() -> None:
    assert make("always").asks(CALM)
    assert not make("never").asks(replace(CALM, since=99, interest=NORTH, switch=0, doubt=1.0))


def test_every_third_session_counts_from_the_last_adaptation() -> None:
    assert [make("every:3").asks(replace(CALM, since=n)) for n in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("rate", "k"), [(1.0, 1), (0.7, 2), (0.5, 2), (0.4, 3), (0.3, 4), (0.2, 5), (0.1, 10), (1 / 3, 3)]
)
def test_a_budget_of_requests_is_never_exceeded(rate: float, k: int) -> None:
    assert Every.for_rate(rate) == k


def test_random_asks_with_its_probability() -> None:
    draws = np.linspace(0, 1, 1000, endpoint=False)
    assert sum(make("random:0.3").asks(replace(CALM, draw=d)) for d in draws) == 300


def test_drift_asks_beyond_a_cosine_distance() -> None:
    diagonal = EAST + NORTH  # at 45 degrees: a distance of 1 - 0.7071
    assert cosine_distance(EAST, NORTH) == pytest.approx(1.0)
    assert cosine_distance(EAST, 3 * diagonal) == pytest.approx(1 - np.sqrt(0.5))
    assert cosine_distance(EAST, -EAST) == pytest.approx(2.0)
    assert cosine_distance(EAST, 0 * EAST) == 0.0
    assert make("drift:0.29").asks(replace(CALM, interest=diagonal))
    assert not make("drift:0.30").asks(replace(CALM, interest=diagonal))


def test_mrd_asks_beyond_a_doubt() -> None:
    assert make("mrd:0.5").asks(replace(CALM, doubt=0.51))
    assert not make("mrd:0.5").asks(replace(CALM, doubt=0.5))


def test_an_oracle_asks_in_the_sessions_after_a_change() -> None:
    assert [make("oracle:2").asks(replace(CALM, switch=n)) for n in (-1, 0, 1, 2)] == [False, True, True, False]


@pytest.mark.parametrize("name", ["adwin", "page-hinkley"])
def test_detectors_hear_losses_rise_and_not_fall(name: str) -> None:
    rng = np.random.default_rng(0)
    low, high = 0.2 + 0.05 * rng.random(40), 0.8 + 0.05 * rng.random(40)
    policy = make(name)
    assert policy.asks(replace(CALM, losses=np.concatenate([low, high])))
    assert not policy.asks(replace(CALM, losses=np.concatenate([high, low])))
    assert not policy.asks(replace(CALM, losses=low))
    assert not policy.asks(CALM)


def test_adwin_on_noise_alarms_no_more_often_than_its_confidence() -> None:
    """Delta bounds the probability of a false alarm; Page-Hinkley's threshold has no such meaning and is calibrated."""
    rng = np.random.default_rng(1)
    alarms = sum(make("adwin:0.05").asks(replace(CALM, losses=rng.random(60))) for _ in range(400))
    assert alarms <= 0.05 * 400 + 3 * np.sqrt(400 * 0.05 * 0.95)


def test_more_of_the_parameter_is_more_or_fewer_requests_as_the_policy_says() -> None:
    rng = np.random.default_rng(2)
    now = [
        replace(
            CALM,
            losses=0.3 * rng.random(30) + np.where(np.arange(30) < 15, 0.0, 0.7 * rng.random()),
            interest=rng.normal(size=64),
            sent=rng.normal(size=64),
            doubt=rng.random(),
        )
        for _ in range(60)
    ]
    for name, kind in POLICIES.items():
        if kind.rising is None:
            continue
        tried = {"adwin": (1e-3, 0.5, 0.999), "page-hinkley": (0.2, 1.0, 4.0)}.get(name, (0.2, 0.9, 1.0))
        counts = [sum(kind(value).asks(one) for one in now) for value in tried]
        assert counts == sorted(counts, reverse=not kind.rising), name
        assert counts[0] != counts[-1], name


def test_losses_are_the_logarithm_of_the_rank() -> None:
    assert losses(np.array([1, 10, 100]), 100) == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("always:3", "takes no parameter"),
        ("drift:far", "'far', not a number"),
        ("drift:3", "from 0 to 2"),
        ("random:-0.1", "from 0 to 1"),
        ("every:nan", "a finite number of at least 1"),
    ],
)
def test_a_bad_parameter_is_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(KeyError, match="sometimes"):
        parse("sometimes")
    assert parse("drift:0.4")[1] == 0.4
    assert parse("drift")[1] is None
