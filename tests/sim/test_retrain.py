"""A cloud that trains again as virtual time goes on: which version a session runs, from what each version learnt, and
what installing it takes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from core.errors import UserError
from core.run_folder import RunFolder
from replay import case_study
from replay.counterfactual import replay
from replay.networks import own_network
from sim import run, trainings
from sim.config import Config
from sim.data.interactions import build_interactions
from sim.experiment import prepare
from sim.world.streams import Streams, build_streams
from sim.world.versions import DAY, versions
from strategies.training import loop
from strategies.training.data import TrainingSet
from tests.support import runs, untrained
from tests.support.runs import Stopped, sessions, small_config, stop_after

HOURS = 0.1
"""Of a day between two trainings, 2.4 hours: the tiny data set is played for some hours."""


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    return small_config(
        tmp_path,
        devices=4,
        blocks=1,
        epochs=1,
        methods="devicerec,duet-plus",
        references="popular",
        split="time",
        retrain=HOURS,
    )


def streams_with(live: list[list[float]]) -> Streams:
    """Devices with five items on day -1, and these days of live events, one session each."""
    rows = [(user, day) for user, days in enumerate(live) for day in [-1.0] * 5 + days]
    data = build_interactions(
        "days",
        np.array([user for user, _ in rows]),
        np.arange(len(rows)),
        np.array([round(DAY * (10 + day)) for _, day in rows]),
        [f"u{user}" for user in range(len(live))],
        [str(item) for item in range(len(rows))],
    )
    return build_streams(data, np.arange(len(live)), session_length=1, instant=10 * DAY)


def test_a_session_runs_the_latest_version_that_was_trained_before_it() -> None:
    found = versions(streams_with([[0, 1.9, 2, 2.5, 7], [3.9]]), 10 * DAY, 2)
    assert found.instants.tolist() == [10 * DAY, 12 * DAY, 14 * DAY, 16 * DAY]
    assert found.of_sessions.tolist() == [0, 0, 1, 1, 3, 1]  # nobody runs version 2
    assert found.since.tolist() == [0, 0, 2, 2, 4, 0]
    with pytest.raises(UserError, match=r"would train 67,201 times; at most 1,000 .* give 0\.0077 days"):
        versions(streams_with([[0, 7]]), 10 * DAY, 0.0001)


@given(
    st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=8).map(sorted), min_size=1, max_size=4),
    st.sampled_from([0.5, 1, 3, 7.25, 300]),
)
def test_no_session_runs_what_was_trained_after_its_start_or_less_than_there_was(
    live: list[list[int]], every: float
) -> None:
    streams = streams_with([[day / 10 for day in days] for days in live])
    found = versions(streams, 10 * DAY, every)
    starts = streams.times[streams.offsets[streams.session_devices] + streams.session_starts]
    trained = [[k for k, instant in enumerate(found.instants) if instant <= start] for start in starts.tolist()]
    assert found.of_sessions.tolist() == [max(before) for before in trained]
    assert len(found) == max(found.of_sessions) + 1


def test_every_version_learns_from_all_that_lies_before_it_and_from_nothing_later(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: dict[tuple[str, int], TrainingSet] = {}
    real = trainings.train_model

    def noted(name: str, data: TrainingSet, *rest: object, **named: object) -> tuple[pd.DataFrame, bool]:
        learnt[name, int(str(rest[5])) if len(rest) > 5 else 0] = data
        return real(name, data, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(trainings, "train_model", noted)
    run.main(config)
    _, world = prepare(config)
    again = world.versions
    assert again is not None
    assert len(again) >= 3
    assert set(learnt) == {(name, k) for name in ("devicerec", "duet-plus", "popular") for k in range(len(again))}
    for (_, version), data in learnt.items():
        until = again.instants[version]
        assert data.times.max() < until
        before = world.streams.times < until
        assert len(data.items) + len(data.validation) == before.sum()
    rows = sessions(config.folder).set_index(["method", "device", "session"])
    for name in config.method_names:
        assert rows.loc[name]["version"].tolist() == [
            int(again.of_sessions[world.streams.session_offsets[device] + session])
            for device, session in rows.loc[name].index
        ]
    log = pd.read_csv(config.folder / "retraining.csv")
    assert log.groupby("version")["method"].unique().map(list).tolist() == [["devicerec", "duet-plus"]] * (
        len(again) - 1
    )


def test_what_is_installed_is_counted_once_a_device_and_version(config: Config) -> None:
    run.main(config)
    rows = sessions(config.folder)
    weights = load_file(config.folder / "models" / "devicerec-0.safetensors")
    later = load_file(config.folder / "models" / "devicerec-0-v1.safetensors")
    assert any((weights[name] != later[name]).any() for name in weights)
    items = len(weights["device_part.backbone.items"]) - 1
    duet = load_file(config.folder / "models" / "duet-plus-0.safetensors")
    numbers = {
        "devicerec": sum(value.size for value in weights.values()),
        "duet-plus": sum(value.size for name, value in duet.items() if name.startswith("device_part.")),
        "popular": items,  # an order
    }
    for method, mine in rows.groupby("method"):
        first = ~mine.duplicated(["device", "version"])
        assert (mine["bits_installed"] == 32 * numbers[str(method)] * first).all(), method
    assert (rows[rows["method"] != "duet-plus"]["bits_down"] == 0).all()


def test_a_killed_run_continues_with_the_versions_that_it_has(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, policy="never")  # devices remember their networks until another model is installed
    whole = replace(config, out=tmp_path / "whole")
    run.main(whole)
    for owner, name, calls in ((loop, "validate", 3), (RunFolder, "save_part", 4)):
        monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / f"cache-{name}"))
        mine = replace(config, out=tmp_path / name)
        with monkeypatch.context() as patch:
            stop_after(calls, patch, owner, name)
            with pytest.raises(Stopped):
                run.main(mine)
        run.main(mine)
        pd.testing.assert_frame_equal(sessions(mine.folder), sessions(whole.folder), check_exact=True)
    rows = sessions(whole.folder)
    adaptive = rows[rows["method"] == "duet-plus"]
    assert (adaptive["requested"] == (adaptive["bits_installed"] > 0)).all()  # once a version, since never means once


def test_a_network_is_made_again_with_the_version_that_ran(config: Config) -> None:
    run.main(config)
    rows = sessions(config.folder)
    mine = rows[rows["method"] == "duet-plus"]
    assert mine["version"].nunique() > 1
    for row in mine.itertuples():
        own = own_network(config.folder, int(row.device), int(row.session), "duet-plus", 0)
        assert own.hits == row.hits
        scores = own.assembled(own.windows)
        _, wanted, _ = own.events.predictions()
        ranks = 1 + (scores > scores.gather(1, wanted[:, None].long() - 1)).sum(1)
        assert int((ranks <= 10).sum()) == row.hits


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten devices that choose their blocks: three versions that several begin with, one that one of them runs.

    All versions are fresh models.
    """
    folder = tmp_path_factory.mktemp("changing")
    rng, file, rows = np.random.default_rng(0), folder / "days.csv", []
    for user in range(10):
        live = [3 + 2 * (user % 3)] * 4 + [9] * 4 + [13] * 3 * (user == 4)  # the instant is on day 1
        days = [k / 60 for k in range(30 + user)] + [day + k / 1000 for k, day in enumerate(live)]
        rows += [(f"u{user}", f"i{rng.integers(30)}", 10**9 + round(DAY * day)) for day in days]
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(file, index=False)
    with pytest.MonkeyPatch.context() as patch:
        runs.own_cache(folder, patch)
        untrained.install(patch)
        config = runs.small_config(
            folder,
            dataset=str(file),
            devices=10,
            blocks=3,
            epochs=1,
            methods="devicerec,forward-ofa",
            split="time",
            retrain=2.0,
        )
        run.main(config)
    return config.folder


def test_sessions_are_played_again_with_the_version_that_ran_and_swapped_within_it(changing: Path) -> None:
    measured = sessions(changing)
    measured = measured[measured["method"] == "forward-ofa"].set_index(["device", "session"])
    rows = replay(changing, "forward-ofa", 0).set_index(["device", "session"])
    own = rows[rows["network"] == "own"]
    there = measured.loc[own.index]
    for column in ("events", "hits", "path", "blocks"):
        assert own[column].tolist() == there[column].tolist(), column
    assert own["ndcg"].to_numpy() == pytest.approx(there["ndcg"].to_numpy())
    assert there["version"].nunique() > 1
    swapped = rows[rows["network"] == "swapped"]
    for version, mine in there.groupby("version"):
        assert sorted(swapped.loc[mine.index, "path"]) == sorted(mine["path"]), version
    counts = measured.groupby(["version", "device"]).size().groupby("version")
    enough = counts.sum() >= 2 * counts.max()
    assert set(there["version"]) == set(enough.index[enough])


def test_a_case_study_shows_each_device_with_the_version_that_it_began_with(changing: Path) -> None:
    rows = sessions(changing)
    first = rows[rows["session"] == 0].set_index(["method", "device"])
    begins = first.loc["forward-ofa"]["version"]
    assert begins.nunique() > 1
    found = json.loads(case_study.study(changing).read_text())
    everyone = {row["network"]: row for row in found["everyone"]}
    for network, method in (("own", "forward-ofa"), ("devicerec", "devicerec")):
        assert everyone[network]["devices"] == len(begins)
        assert everyone[network]["blocks"] == pytest.approx(first.loc[method]["blocks"].mean()), network
    for one in found["devices"]:
        assert begins[one["device"]] == begins[one["partner"]]
        assert sum(bit << k for k, bit in enumerate(one["path"])) == first.loc["forward-ofa", one["device"]]["path"]
    apart = [int(begins.index[begins == version][0]) for version in begins.unique()[:2]]
    with pytest.raises(UserError, match=r"begin with different versions of the model, .* as --devices"):
        case_study.study(changing, apart)


def test_a_run_without_it_has_one_version_that_is_installed_once_a_device_and_method(config: Config) -> None:
    run.main(replace(config, retrain=None, methods="devicerec", sessions=2))
    rows = sessions(config.folder)
    assert "version" not in rows
    bits = pd.read_csv(config.folder / "coverage.csv").set_index("method")["bits_installed"]
    assert (rows["bits_installed"] == rows["method"].map(bits) * (rows["session"] == 0)).all()
    assert (rows.groupby(["method", "device"])["session"].max() > 0).any()
    assert not (config.folder / "retraining.csv").exists()
