"""Networks that know the future, in worlds whose answers are known; and the table against sums by hand."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from models.checkpoint import Sizes, save_model
from replay import ceiling, oracles
from replay.counterfactual import PlayedSessions
from sim import run
from sim.config import Config
from tests.support import handmade, untrained
from tests.support.runs import without_report

ITEMS = 32
GROUPS = np.array([0, *[0] * 16, *[1] * 16])
"""The network recommends the group of the item that was last read when it was made."""


def write_stream(path: Path) -> None:
    """Six users with four live sessions of two events each: the groups of their sessions go 0, 0, 1, 1 or 1, 1, 0, 0.

    Both events of a session are among the ten that are most popular in their group (the highest numbers of a group).
    """
    rows = []
    for user in range(6):
        past = [(user + 3 * step) % 6 for step in range(32)]
        live = [[0, 0, 1, 1], [1, 1, 0, 0]][user % 2]
        items = [1 + 16 * (step % 2) + one for step, one in enumerate(past)]
        items += [
            16 * group + 10 + (user + session + place) % 6 for session, group in enumerate(live) for place in (0, 1)
        ]
        times = [60 * step for step in range(32)] + [
            10**5 * (1 + session) + place for session in range(4) for place in (0, 1)
        ]
        rows += [(f"u{user}", f"i{item:02}", 10**9 + time) for item, time in zip(items, times, strict=True)]
    rows += [("all", f"i{item:02}", 10**9 + item) for item in range(1, ITEMS + 1)]
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)


@pytest.fixture(scope="module")
def handmade_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("future")
    write_stream(home / "data.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_CACHE_DIR", str(home / "cache"))
        without_report(patch)
        handmade.install(GROUPS, np.arange(ITEMS + 1), 0.0, patch)
        config = Config(
            dataset=str(home / "data.csv"), references="none", candidates="all", devices=6, methods="duet", blocks=1,
            context=4, memory=8, seed=3, quiet=True, out=home / "run",
        )  # fmt: skip
        run.main(config.absolute())
    facts = {"memory": 8, "method": "duet", "seed": 3}
    made = handmade.model(GROUPS, np.arange(ITEMS + 1), Sizes("sasrec", ITEMS, 1, 4), 0.0)
    save_model(home / "run" / "models" / "duet-3.safetensors", made, Sizes("sasrec", ITEMS, 1, 4), facts)
    return home / "run"


def test_the_networks_of_this_and_the_next_session_know_what_their_items_say(handmade_run: Path) -> None:
    """A network hits where the group it was made for is that of the session: ``this`` always, ``next`` and ``own``
    unless the group changes between the session and the one it was made of."""
    played = PlayedSessions(handmade_run, "duet", 3)
    groups = {
        (device, session): GROUPS[played.storage.during(device, session)]
        for device, session in played.device_sessions.tolist()
    }
    assert all(len(set(mine.tolist())) == 1 for mine in groups.values())
    rows = ceiling.replay(handmade_run, "duet", 3, 2)
    for network, other in (("this", 0), ("next", 1)):
        mine = rows[rows["network"] == network].set_index(["device", "session"])
        assert len(mine) == sum((device, session + other) in groups for device, session in groups)
        for (device, session), found in mine["hits"].items():  # type: ignore[misc]
            same = groups[device, session][0] == groups[device, session + other][0]
            assert found == (len(groups[device, session]) if same else 0), (network, device, session)
    assert "since" not in set(rows["network"])  # no change is known
    hits = rows[rows["network"] == "next"]["hits"]
    assert 0 < (hits > 0).mean() < 1


@pytest.fixture(scope="module")
def played_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ceiling")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_CACHE_DIR", str(home / "cache"))
        without_report(patch)
        untrained.install(patch)
        config = Config(
            references="none", devices=12, methods="devicerec,duet-plus,forward-ofa-plus", blocks=3,
            quiet=True, out=home / "run",
        )  # fmt: skip
        run.main(config.absolute())
    return home / "run"


def test_a_device_that_is_told_when_to_forget_reads_the_items_since_its_last_change(played_run: Path) -> None:
    """In the generated world, where some devices change once; each is played alone, from its own change point."""
    played = PlayedSessions(played_run, "forward-ofa-plus", 0)
    first = np.load(played.world / "change_points.npy")
    (rows,) = oracles.since_change(played)
    expected = {
        (device, session): int(first[device])
        for device, session in played.device_sessions.tolist()
        if 0 <= first[device] < len(played.storage.before(device, session))
    }
    assert {(row.device, row.session) for row in rows.itertuples()} == set(expected)
    assert 0 < len(expected) < len(played)
    quality = rows.set_index(["device", "session"])["ndcg"]
    for place, (device, session) in enumerate(played.device_sessions.tolist()):
        if (device, session) in expected:
            past = np.asarray(played.storage.before(device, session))[expected[device, session] :]
            path, latent = played.requests([past])
            alone = played.play_made("one", np.array([place]), path, latent)
            assert quality[device, session] == pytest.approx(alone["ndcg"][0], rel=1e-5)


def test_of_several_changes_the_last_one_counts(played_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = PlayedSessions(played_run, "forward-ofa-plus", 0)
    devices = int(played.device_sessions[:, 0].max()) + 1
    lengths = [len(past) for past in played.before(np.arange(len(played)))]
    changes = np.tile([3, min(lengths) - 2, max(lengths) + 1], devices)
    world = {"switches": changes, "switch_offsets": np.arange(devices + 1) * 3}
    monkeypatch.setattr(oracles.sealed, "map_arrays", lambda *_: world)
    read: list[list[int]] = []
    monkeypatch.setattr(played, "requests", lambda pasts: read.extend(past.tolist() for past in pasts) or ([], []))
    monkeypatch.setattr(oracles, "chunks", lambda _: [])
    assert oracles.since_change(played) == []
    assert read == [past[min(lengths) - 2 :].tolist() for past in played.before(np.arange(len(played)))]


def test_the_best_path_is_that_of_a_search_one_by_one(played_run: Path) -> None:
    played = PlayedSessions(played_run, "forward-ofa-plus", 0)
    rows = np.flatnonzero(played.device_sessions[:, 0] < 3)
    own, _ = played.requests(played.before(rows))
    found = oracles.every_path(played, rows)
    best = found[found["network"] == "path"].set_index(["device", "session"])
    else_ = found[found["network"] == "path-else"].set_index(["device", "session"])
    tried = [path for path in product((False, True), repeat=3) if all(np.array(path)[own.all(axis=0)])]
    assert len(tried) >= 4
    each = {
        path: played.play_on("one", rows, np.array([path] * len(rows))).set_index(["device", "session"])["ndcg"]
        for path in tried
    }
    table = pd.DataFrame(each)
    for place, key in enumerate(map(tuple, played.device_sessions[rows].tolist())):
        assert best.loc[key, "ndcg"] == pytest.approx(table.loc[key].max())
        assert best.loc[key, "ndcg"] >= table.loc[key, tuple(own[place].tolist())] - 1e-9
        others = table.loc[[other for other in table.index if other[0] == key[0] and other != key]].sum()
        mine = [bool(int(else_.loc[key, "path"]) >> k & 1) for k in range(3)]
        assert others[tuple(mine)] == pytest.approx(others.max())
    assert len(best) == len(else_) == len(rows)


def test_of_paths_that_are_as_good_the_own_one_counts() -> None:
    values = np.array([[0.5, 0.5, 0.5], [0.1, 0.9, 0.9], [0.3, 0.3 + 1e-12, 0.2]])
    assert oracles.best(values, np.array([2, 0, 0])).tolist() == [2, 1, 0]


def test_windows_hold_every_live_target_once_after_what_came_before_it(played_run: Path) -> None:
    played = PlayedSessions(played_run, "duet-plus", 0)
    devices, context = np.array([1, 4, 5]), played.context
    live = oracles.LiveStreams(played, devices)
    for row, device in enumerate(devices.tolist()):
        expected = []
        line = played.storage.items[played.storage.offsets[device] : played.storage.offsets[device + 1]].tolist()
        for session in range(int(np.diff(played.storage.session_offsets)[device])):
            first = len(played.storage.before(device, session))
            for place in range(first, first + len(played.storage.during(device, session))):
                if line[place] not in line[:place]:
                    expected.append((session, line[place - 1], line[place]))
        there = live.sessions[row] >= 0
        found = zip(
            live.sessions[row][there], live.windows[row].numpy()[there], live.targets[row].numpy()[there], strict=True
        )
        assert sorted(expected) == sorted((int(a), int(b), int(c)) for a, b, c in found)
        for window in live.windows[row].numpy():
            real = window[window > 0].tolist()
            assert any(line[start : start + len(real)] == real for start in range(len(line)))
            assert len(real) in (0, context)  # the histories are longer than a window


def test_what_is_trained_knows_its_own_sessions_best_and_nothing_of_the_others(
    played_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many steps the answers are known; where nothing is learnt, the first session's network plays."""
    played = PlayedSessions(played_run, "forward-ofa-plus", 0)
    devices = np.array([0, 2, 3])
    monkeypatch.setattr(oracles, "STEPS", 100)
    monkeypatch.setattr(oracles, "LEARNING_RATE", 1e-2)
    rows = oracles.tuned(played, devices).groupby("network")[["ndcg", "events"]].sum()
    levels = rows["ndcg"] / rows["events"]
    live = oracles.LiveStreams(played, devices)
    kept = np.flatnonzero(np.isin(played.device_sessions[:, 0], devices))
    nothing = live.play("tuned", kept, live.train(np.zeros_like(live.sessions, dtype=bool)))
    whose = np.searchsorted(devices, played.device_sessions[kept, 0])
    first = played.play_made("own", kept, live.paths[whose], live.latent[torch.from_numpy(whose)])
    assert nothing["ndcg"].tolist() == pytest.approx(first["ndcg"].tolist())
    assert levels["tuned"] > 2 * first["ndcg"].sum() / first["events"].sum()
    assert levels["tuned"] > 2 * levels["tuned-else"]


def test_a_device_is_trained_alike_whoever_is_trained_beside_it(played_run: Path) -> None:
    played = PlayedSessions(played_run, "forward-ofa-plus", 0)
    alone, together = (oracles.tuned(played, np.array(some)) for some in ([7], [2, 7, 9]))
    mine = together[together["device"] == 7].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.drop(columns="ndcg"), mine.drop(columns="ndcg"))
    assert alone["ndcg"].tolist() == pytest.approx(mine["ndcg"].tolist(), rel=1e-5)


def rows_of(network: str, ndcg: dict[tuple[int, int], float]) -> pd.DataFrame:
    frame = pd.DataFrame([(0, *key, value, 2) for key, value in ndcg.items()])
    frame.columns = pd.Index(["seed", "device", "session", "ndcg", "events"])
    return frame.assign(network=network, hits=1, blocks=2)


@pytest.mark.usefixtures("two_are_enough")
def test_the_table_is_what_one_computes_by_hand_in_the_sessions_that_both_have() -> None:
    own = rows_of("own", {(0, 0): 1.0, (0, 1): 0.4, (1, 0): 0.2})
    later = rows_of("next", {(0, 0): 1.2, (1, 0): 0.6})
    base = rows_of("devicerec", {(0, 0): 0.5, (0, 1): 0.5, (1, 0): 0.5})
    table = ceiling.compare(pd.concat([own, later]), base).set_index("network")
    assert table.loc["own", "ndcg@10"] == pytest.approx(1.6 / 6)
    assert table.loc["own", "devicerec_delta_percent"] == pytest.approx(100 * (1.6 / 1.5 - 1))
    assert np.isnan(table.loc["own", "own_delta_percent"])
    assert table.loc["next", "own_ndcg@10"] == pytest.approx(1.2 / 4)
    ends = [table.loc["next", f"own_{end}_percent"] for end in ceiling.MEASURES]
    # device 0 gains 0.1 an event, device 1 0.2: of two devices a draw holds one of them twice, or both
    assert ends == pytest.approx([100 * 0.15 / 0.3, 100 * 0.1 / 0.3, 100 * 0.2 / 0.3])
    assert table.loc["next", "devicerec_delta_percent"] == pytest.approx(100 * (1.8 / 1.0 - 1))


def test_the_command_writes_its_table(
    played_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert ceiling.main([str(played_run), "--sample", "9", "--out", str(tmp_path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "the best path for each session *" in printed
    table = pd.read_csv(tmp_path / "ceiling.csv").set_index(["method", "network"])
    measured = pd.read_parquet(played_run / "sessions.parquet")
    for method in ("duet-plus", "forward-ofa-plus"):
        sums = measured[measured["method"] == method][["ndcg", "events"]].sum()
        assert table.loc[(method, "own"), "ndcg@10"] == pytest.approx(sums["ndcg"] / sums["events"], rel=1e-4)
    assert "path" not in table.loc["duet-plus"].index
    assert table.loc[("forward-ofa-plus", "path"), "own_delta_percent"] >= 0
    assert table.loc[("forward-ofa-plus", "path"), "devices"] == 9
    assert set(table.loc["forward-ofa-plus"].index) == set(ceiling.MEANINGS)


def test_a_mistake_is_one_line_and_status_2(played_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["nowhere"], "nowhere"),
        ([str(played_run), "--sample", "0"], "--sample is 0"),
        ([str(played_run), "--devices", "1"], "not enough others to swap with"),
        ([str(played_run), "--method", "duet"], "--methods duet"),
    ):
        assert ceiling.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error
    with pytest.raises(UserError, match="no network for each"):
        PlayedSessions(played_run, "devicerec", 0)
