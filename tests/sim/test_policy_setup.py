"""Request policies in whole runs: who asks when, what it costs, and that killing or batching changes nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.run_folder import RunFolder
from sim import play, run
from sim.config import Config
from tests.support.runs import Stopped, sessions, small_config, stop_after

ASKING = ("finetune", "forward-ofa")


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    return small_config(tmp_path, devices=12, methods=",".join(ASKING), session_length=2)


@pytest.fixture
def played(config: Config, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Rows of a run with these options."""

    def of(**options: object) -> pd.DataFrame:
        out = tmp_path / json.dumps(options, sort_keys=True).replace("/", "_").replace('"', "")
        run.main(replace(config, out=out, **options).check())  # type: ignore[arg-type]
        return sessions(out)

    return of


def test_every_second_session_and_never(played: Callable[..., pd.DataFrame]) -> None:
    second, never = played(policy="every:2"), played(policy="never")
    assert second.session.max() >= 3
    assert (second.adapted == (second.session % 2 == 0)).all()
    assert (never.adapted == (never.session == 0)).all()
    for rows in (second, never):
        cloud = rows[rows.method == "forward-ofa"]
        assert (cloud.requested == cloud.adapted).all()
        quiet = cloud[~cloud.requested]
        assert (quiet[["bits_up", "bits_down", "seconds_adapt"]] == 0).all().all()
        assert quiet.served.all()
        tuning = rows[rows.method == "finetune"]
        assert not tuning.requested.any()
        assert ((tuning.seconds_adapt > 0) == tuning.adapted).all()


def test_stale_and_fresh_are_what_other_policies_really_play(played: Callable[..., pd.DataFrame]) -> None:
    never, always = played(policy="never", compare_stale=True), played(policy="always", compare_stale=True)
    assert (never.session == always.session).all()
    assert never.ndcg_fresh.tolist() == pytest.approx(always.ndcg.tolist())
    assert never.hits_fresh.tolist() == always.hits.tolist()
    later = never.session > 0
    assert never.ndcg_stale[later].tolist() == pytest.approx(never.ndcg[later].tolist())
    assert always.ndcg_fresh.tolist() == pytest.approx(always.ndcg.tolist())
    second = never.session == 1  # then the network of the last adaptation is that of session 0 under either policy
    assert always.ndcg_stale[second].tolist() == pytest.approx(never.ndcg[second].tolist())
    assert (never.ndcg_stale - never.ndcg_fresh).abs().max() > 0
    first = never[(never.session == 0) & (never.method == "forward-ofa")]  # there is no older network
    assert (first.ndcg_stale == first.ndcg_fresh).all()


@pytest.mark.parametrize("policy", ["always", "drift:0.2"])
def test_comparing_costs_nothing_and_changes_nothing(played: Callable[..., pd.DataFrame], policy: str) -> None:
    plain, compared = played(policy=policy), played(policy=policy, compare_stale=True)
    assert "ndcg_stale" not in plain
    pd.testing.assert_frame_equal(plain, compared[plain.columns])


def test_deciding_by_the_latent_interest_takes_the_extractors_each_time(played: Callable[..., pd.DataFrame]) -> None:
    rows = played(policy="drift:2")  # beyond any distance but the opposite
    quiet = rows[(rows.method == "forward-ofa") & (rows.session > 0)]
    assert not quiet.requested.any()
    assert (quiet.seconds_adapt > 0).all()
    assert (quiet[["bits_up", "bits_down"]] == 0).all().all()


def test_who_would_ask_and_cannot_afford_it_has_paid_for_looking(config: Config, tmp_path: Path) -> None:
    """Devices are too busy in some sessions; in those with an older network a policy has looked at the interest."""
    mix = tmp_path / "busy.toml"
    mix.write_text(
        'base = "paper-device"\n[budget]\nlatency_ms = 0.00045\n'
        "[availability]\nbusy_factor = 0.1\nto_busy = 0.6\nto_idle = 0.6\n"
    )
    spent = {}
    for policy in ("drift:0", "drift:2"):  # asks always, and never
        out = tmp_path / policy.replace(":", "-")
        run.main(replace(config, methods="duet", policy=policy, scenario=str(mix), out=out))
        rows = sessions(out)
        first = rows[rows.served].groupby("device").session.min()
        later = rows[rows.session > rows.device.map(first).fillna(99)]
        spent[policy] = later.set_index(["device", "session"])
    eager = spent["drift:0"][~spent["drift:0"].served]
    assert len(eager) > 3
    assert (eager.macs_session > 0).all()
    pd.testing.assert_series_equal(eager.macs_session, spent["drift:2"].macs_session.loc[eager.index])


def test_the_detector_is_installed_and_counted(config: Config) -> None:
    run.main(replace(config, methods="forward-ofa,finetune", policy="mrd:0.5"))
    prior = (64 * 32 + 32) + 2 * (32 * 32 + 32)
    detector = 32 * (prior + (32 * 64 + 64) + (2 * 64 + 1) + (2 + 1) + 10 * 32 + 2)
    rows, counted = sessions(config.folder), pd.read_csv(config.folder / "coverage.csv").set_index("method")
    run.main(replace(config, methods="forward-ofa,finetune", out=config.folder.parent / "without"))
    without = pd.read_csv(config.folder.parent / "without" / "coverage.csv").set_index("method")
    assert (counted.bits_installed - without.bits_installed).loc[["forward-ofa", "finetune"]].tolist() == [detector] * 2
    first = rows[rows.session == 0]
    assert (first.bits_installed == first.method.map(counted.bits_installed)).all()
    assert (rows[rows.session > 0].bits_installed == 0).all()


@pytest.mark.parametrize("policy", ["drift:0.1", "page-hinkley:0.1", "random:0.5", "mrd:0.1"])
def test_a_killed_run_remembers(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    config = replace(config, policy=policy)
    with monkeypatch.context() as patch:
        stop_after(2, patch, RunFolder, "save_part")  # the third round is played, and its rows are lost
        with pytest.raises(Stopped):
            run.main(config)
    run.main(config)
    run.main(replace(config, out=tmp_path / "whole"))
    rows = sessions(config.folder)
    pd.testing.assert_frame_equal(rows, sessions(tmp_path / "whole"), check_exact=True)
    assert 0 < rows[rows.session > 0].adapted.mean() < 1
    assert not list((config.folder / "world" / "devices").iterdir())


@pytest.mark.parametrize("policy", ["adwin:0.9", "drift:0.1"])
def test_the_size_of_a_wave_changes_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    config = replace(config, policy=policy, compare_stale=True)
    run.main(config)
    monkeypatch.setattr(play, "WAVE", 1)
    run.main(replace(config, out=tmp_path / "alone"))
    pd.testing.assert_frame_equal(sessions(config.folder), sessions(tmp_path / "alone"))


def test_a_budget_becomes_a_threshold_of_the_backtest(config: Config) -> None:
    for scope in ("population", "device"):
        mine = replace(config, policy="drift", request_rate=0.4, request_scope=scope, out=config.folder / ".." / scope)
        run.main(mine.check())
        note = json.loads((mine.folder / "policies" / "0-forward-ofa.json").read_text())
        assert 0 < note["backtest_rate"] <= 0.4
        assert len(note["parameters"]) == 12
        assert (len(set(note["parameters"])) == 1) == (scope == "population")


def test_the_threshold_does_not_depend_on_the_live_streams(config: Config) -> None:
    thresholds = []
    for drift in ("natural", "abrupt"):
        mine = replace(config, policy="drift", request_rate=0.4, drift=drift, out=config.folder / ".." / drift)
        run.main(mine)
        thresholds.append((mine.folder / "policies" / "0-forward-ofa.json").read_text())
    assert thresholds[0] == thresholds[1]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"policy": "sometimes"}, "unknown policy 'sometimes'"),
        ({"policy": "drift:9"}, "from 0 to 2"),
        ({"policy": "drift:0.1", "request_rate": 0.1}, "leave it out"),
        ({"policy": "oracle", "request_rate": 0.1}, "no parameter that a budget could set"),
        ({"policy": "drift", "request_rate": 0.0}, "above 0"),
        ({"request_scope": "city"}, "unknown request scope"),
    ],
)
def test_what_cannot_be_is_one_line(config: Config, options: dict[str, object], why: str) -> None:
    with pytest.raises(UserError, match=why):
        replace(config, **options).check()  # type: ignore[arg-type]


def test_a_budget_sets_k_and_the_probability_directly(config: Config) -> None:
    run.main(replace(config, policy="every", request_rate=0.5))
    rows = sessions(config.folder)
    assert (rows.adapted == (rows.session % 2 == 0)).all()
    assert not np.isnan(rows.ndcg).any()
