"""Whole runs with a model in which only freshness matters: who asks at the right moment wins, and an index that is off
by one shows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.stats import paired
from sim import run
from sim.config import Config
from sim.data import load
from sim.policy import setup
from sim.world.streams import Streams, sessions_since_switch
from tests.support.handmade import install
from tests.support.runs import sessions, without_report

USERS, LENGTH, GROUP, SITTING = 24, 75, 8, 3
Play = Callable[..., pd.DataFrame]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    without_report(monkeypatch)


def player(config: Config) -> Play:
    """Rows of a run with these options, which must not depend on the order of the runs."""
    count = iter(range(100))

    def rows(**options: object) -> pd.DataFrame:
        one = replace(config, out=config.folder / str(next(count)), **options)  # type: ignore[arg-type]
        run.main(one.check())
        return sessions(one.folder)

    return rows


@pytest.fixture
def two_tastes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Users of two tastes, who all come in sittings of three items; at an own moment most change to the other taste."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"{'ab'[user % 2]}{rng.integers(GROUP)}", 10**9 + 60 * step + 9000 * (step // SITTING))
        for user in range(USERS)
        for step in range(LENGTH)
    ]
    data = tmp_path / "tastes.csv"
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(data, index=False)
    names = load(str(data)).item_ids
    groups = np.array([0, *("ab".index(name[0]) for name in names[1:])])
    install(groups, np.ones(len(groups)), 0.0, monkeypatch)
    (tmp_path / "abrupt.toml").write_text("kind = 'abrupt'\nshare = 0.8\nonset = [0.2, 0.8]\nseverity = 1.0\n")
    sizes = {"devices": USERS, "methods": "duet", "blocks": 1, "context": 4, "memory": 4, "quiet": True}
    sizes |= {"references": "none", "candidates": "all"}
    return player(Config(str(data), drift=str(tmp_path / "abrupt.toml"), out=tmp_path / "runs", **sizes))  # type: ignore[arg-type]


def test_asking_once_after_the_change_is_as_good_as_asking_always(two_tastes: Play) -> None:
    oracle, always, never = (two_tastes(policy=policy) for policy in ("oracle:1", "always", "never"))
    assert oracle.ndcg.tolist() == pytest.approx(always.ndcg.tolist())
    later = oracle[oracle.session > 0]
    # One request for each change after which a session begins, in the first session after that of the change.
    asked = later[later.adapted]
    assert 12 < len(asked) == asked.device.nunique()
    change = later[later.phase == "during"].set_index("device").session.reindex(asked.device).fillna(0)
    assert (asked.session.to_numpy() == change.to_numpy() + 1).all()
    assert never.ndcg.sum() < 0.8 * oracle.ndcg.sum()


@pytest.mark.parametrize("events", [-1, 1])
@pytest.mark.parametrize("what", ["event", "session"])
def test_an_oracle_that_is_off_by_one_is_beaten(
    two_tastes: Play, monkeypatch: pytest.MonkeyPatch, what: str, events: int
) -> None:
    def off(streams: Streams) -> np.ndarray:
        if what == "session":
            at = sessions_since_switch(streams)
            return np.where(at >= 0, at - events, -1) if events > 0 else np.append(at[1:], -1)
        moved = {name: getattr(streams, name) for name in ("switches", "change_points", "change_ends")}
        return sessions_since_switch(replace(streams, **{n: np.where(v >= 0, v + events, v) for n, v in moved.items()}))

    honest = two_tastes(policy="drift:0.5")
    monkeypatch.setattr(setup, "sessions_since_switch", off)
    oracle = two_tastes(policy="oracle:1")
    assert oracle.ndcg.sum() < 0.98 * honest.ndcg.sum()


@pytest.mark.parametrize("policy", ["random", "every", "drift", "page-hinkley"])
def test_no_policy_beats_the_oracle_with_as_many_requests(two_tastes: Play, policy: str) -> None:
    oracle = two_tastes(policy="oracle:1")
    rate = float(oracle[oracle.session > 0].adapted.mean())
    other = two_tastes(policy=policy, request_rate=rate)
    assert other.ndcg.sum() <= oracle.ndcg.sum() + 1e-6


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The generated data set with its own changes; networks recommend the genres of the device's recent films."""
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        films = load("synthetic")
        install(films.genres.argmax(axis=1), np.bincount(films.items, minlength=len(films.genres)), 0.8, patch)
        play = player(
            Config(
                references="none",
                candidates="all",
                devices=150,
                methods="duet",
                blocks=1,
                context=4,
                quiet=True,
                out=folder,
            )
        )
        found = {"oracle": play(policy="oracle:1")}
        rate = float(found["oracle"].query("session > 0").adapted.mean())
        for policy in ("random", "drift", "page-hinkley", "mrd"):
            found[policy] = play(policy=policy, request_rate=rate)
    return found


def against_oracle(generated: dict[str, pd.DataFrame], policy: str) -> tuple[float, float]:
    """The interval of NDCG@10 minus the oracle's, paired over devices."""
    sums = [generated[name].groupby("device")[["ndcg", "events"]].sum() for name in ("oracle", policy)]
    first, second = (part.to_numpy(float) for part in sums)
    found = paired((first[:, 0], second[:, 0]), (first[:, 1], second[:, 1]))
    return found.low, found.high


@pytest.mark.parametrize("policy", ["random", "drift", "page-hinkley", "mrd"])
def test_the_oracle_is_beaten_by_no_more_than_noise_on_the_generated_set(
    generated: dict[str, pd.DataFrame], policy: str
) -> None:
    low, high = against_oracle(generated, policy)
    assert low <= 0
    if policy == "random":
        assert high < 0  # what does not look at the device is beaten beyond noise


@pytest.mark.parametrize("policy", ["random", "drift", "page-hinkley", "mrd"])
def test_devices_that_do_not_change_alarm_at_the_nominal_rate_on_the_generated_set(
    generated: dict[str, pd.DataFrame], policy: str
) -> None:
    """Thresholds come from the histories: the live streams of stationary devices are noise they have not seen."""
    nominal = float(generated["oracle"].query("session > 0").adapted.mean())
    calm = generated[policy].query("session > 0 and phase == 'stationary'")
    tolerance = 4 * np.sqrt(nominal * (1 - nominal) / len(calm))  # the threshold is estimated too
    assert calm.adapted.mean() == pytest.approx(nominal, abs=tolerance)
