"""Whole commands: how a run's lines divide its time, and turns of two trees."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import jobs
from benchmarks.jobs import Options, Said, divided, seconds, summary
from sim.observers.progress import clock
from tests.benchmarks.test_trees import fake_tree


@pytest.mark.parametrize("whole", [0, 59, 60, 187, 3599, 3600, 3727, 45296])
def test_durations_are_read_as_a_run_writes_them(whole: int) -> None:
    assert seconds(clock(whole)) == whole


def test_lines_divide_the_time_of_a_run() -> None:
    lines = [
        Said(5.0, "data: synthetic: 600 users"),
        Said(20.0, "train DeviceRec: 6 of 10, about 11 s left; loss 3.166, best validation NDCG@10 0.5176"),
        Said(70.0, "train DeviceRec: done in 1:04 min; loss 2.902, best validation NDCG@10 0.5889"),
        Said(70.5, "train DUET: from the cache; loss 4.769, best validation NDCG@10 0.1919"),
        Said(71.0, "play DeviceRec: done in 1 s; NDCG@10 0.4890, served 100.0 %, 0 requests, 0.0 Mbit"),
        Said(90.5, "play By type (oracle): done in 19 s; NDCG@10 0.6150"),
        Said(99.0, "finished in 1:39 min: runs/x"),
    ]
    assert divided(lines, 100.0) == {
        "starting_s": 6.0,  # 70 - 64
        "training_s": 64.5,
        "playing_s": 20.0,
        "rest_s": 9.5,
        "trained": "DeviceRec 1:04 min, DUET cached",
        "played": "DeviceRec 1 s, By type (oracle) 19 s",
    }
    with pytest.raises(RuntimeError, match="has not said"):
        divided(lines[:4], 100.0)


RUN = """
import os, sys
from pathlib import Path

model = Path(os.environ["SIM_CACHE_DIR"]) / "model"
print("train DeviceRec:", "from the cache" if model.exists() else "done in 0 s", file=sys.stderr)
model.parent.mkdir(parents=True, exist_ok=True)
model.touch()
out = Path(sys.argv[sys.argv.index("--out") + 1])
assert not out.exists()
out.mkdir()
print("play", NAME + ": done in 0 s; NDCG@10 0.1", " ".join(sys.argv[1:-2]), file=sys.stderr)
"""


def test_each_tree_runs_cold_and_then_warm_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = (fake_tree(tmp_path / name, sim_run=f"NAME = {name!r}\n{RUN}") for name in ("before", "now"))
    monkeypatch.setattr(jobs, "HERE", now)
    options = Options(jobs=("main",), repeats=2, warm=2, before=before)
    rows = pd.DataFrame(jobs.measure(options, tmp_path / "scratch"))
    assert rows["sources"].tolist() == ["before", "now"] * 6
    assert rows["played"].tolist() == ["before 0 s", "now 0 s"] * 6
    assert rows["cache"].tolist() == (["cold"] * 2 + ["warm"] * 4) * 2
    assert rows["round"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3]
    assert rows["trained"].str.contains("cached").tolist() == rows["cache"].eq("warm").tolist()
    phases = rows[jobs.PHASES]
    assert phases.sum(axis=1).tolist() == pytest.approx(rows["wall_s"].tolist())


def test_a_run_that_fails_ends_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = fake_tree(tmp_path / "now", sim_run="raise SystemExit('error: no such data')")
    monkeypatch.setattr(jobs, "HERE", tree)
    with pytest.raises(RuntimeError, match="error: no such data"):
        list(jobs.measure(Options(jobs=("first",)), tmp_path))


def test_times_before_is_the_median_of_ratios_in_a_round() -> None:
    walls = {"before": [60.0, 90.0, 40.0], "now": [20.0, 90.0, 20.0]}
    rows = pd.DataFrame(
        {"job": "main", "cache": "warm", "round": number, "sources": name, "wall_s": wall}
        | dict.fromkeys(["processor_s", *jobs.PHASES], 1.0)
        for name, those in walls.items()
        for number, wall in enumerate(those)
    )
    found = summary(rows).set_index("sources")
    assert found.loc["now", "times_before"] == 2  # of 3, 1, 2
    assert found["wall_s"].to_dict() == {"before": 60.0, "now": 20.0}
    assert pd.isna(found.loc["before", "times_before"])
    assert "times_before" not in summary(rows[rows["sources"] == "now"])


@pytest.mark.parametrize("wrong", ["--jobs firts", "--repeats 0", "--before nowhere", "--out nowhere/x.csv"])
def test_what_the_user_can_mend_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setattr("sys.argv", ["jobs", *wrong.split()])
    assert jobs.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
