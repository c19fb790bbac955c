"""Sources of another commit beside these: which are run, and that ratios are taken within a round."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import devices, playing, training
from benchmarks.trees import HERE, checked, knows, run_in
from core.errors import UserError


def fake_tree(folder: Path, config: str = "", **modules: str) -> Path:
    """A checkout of two packages, with these modules (``benchmarks_training="..."`` is benchmarks/training.py)."""
    for package in ("sim", "benchmarks"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(f"WHERE = {folder.name!r}\n")
    (folder / "sim" / "config.py").write_text(config)
    for name, text in modules.items():
        package, _, module = name.partition("_")
        (folder / package / f"{module}.py").write_text(text)
    return folder


def test_a_process_runs_the_sources_of_its_tree(tmp_path: Path) -> None:
    tree = fake_tree(tmp_path / "other", sim_run="import sim; print(sim.WHERE)")
    assert run_in(tree, ["-m", "sim.run"]) == "other\n"
    assert run_in(tree, ["-P", "-c", "import sim; print(sim.WHERE)"]) == "other\n"
    with pytest.raises(RuntimeError, match=r"status 1\n.*no such luck"):
        run_in(tree, ["-c", "raise SystemExit('no such luck')"])


def test_options_and_modules_of_a_tree_are_looked_for_in_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = fake_tree(tmp_path / "other", "class Config:\n    devices: int = 1\n    # references: none\n", sim_cloud="")
    assert knows(tree, "devices")
    assert not knows(tree, "references")
    assert knows(HERE, "references")
    assert checked("before", tree) == tree
    with pytest.raises(UserError, match="no checkout"):
        checked("before", tmp_path)
    # sim.model_cache could be imported, but not from that tree
    monkeypatch.setattr(playing.experiment, "__file__", str(tree / "sim" / "experiment.py"))
    monkeypatch.setitem(sys.modules, "sim.cloud", playing)
    assert playing.either("sim.model_cache", "sim.cloud") is playing


SPEEDS = """
import sys
from pathlib import Path

seen = Path(__file__).with_name("rounds")
number = len(seen.read_text()) if seen.exists() else 0
seen.write_text("x" * (number + 1))
assert sys.argv[sys.argv.index("--rounds") + 1] == "1"
rows = ["threads,context,method,targets_per_s,mmacs_per_target,of_fp32_limit"]
rows += [f"1,10,DeviceRec,{SPEEDS[number]},1,0.25", f"1,10,{ONLY},7,1,0.5"]
Path(sys.argv[sys.argv.index("--out") + 1]).write_text("\\n".join(rows))
"""


def test_training_is_compared_within_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = (
        fake_tree(tmp_path / name, benchmarks_training=f"SPEEDS, ONLY = {speeds}, {name!r}\n{SPEEDS}")
        for name, speeds in (("before", [100, 200, 50]), ("now", [300, 200, 100]))
    )
    monkeypatch.setattr(training, "HERE", now)
    out = tmp_path / "training.csv"
    words = ["--before", str(before), "--rounds", "3", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["training", *words])
    assert training.main() == 0
    (row,) = pd.read_csv(out).itertuples()  # what only one of them has is left out
    assert row.method == "DeviceRec"
    assert (row.targets_per_s, row.targets_per_s_before) == (200, 100)
    assert row.times_before == 2  # of 3, 1, 2
    assert row.largest_over_smallest == 3
    assert row.of_fp32_limit_before == 0.25


def test_devices_play_in_turns_on_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, speeds = fake_tree(tmp_path / "before"), iter([10.0, 40.0, 20.0, 40.0, 5.0, 15.0])
    asked: list[tuple[Path, str]] = []
    same = dict.fromkeys(
        ("device_sessions", "per_processor_second", "start_mb", "peak_mb", "predictions", "hits", "ndcg"), 1.0
    )

    def answer(tree: Path, words: list[str], **more: str) -> str:
        options = json.loads(words[-1])
        assert len(pd.read_csv(options["dataset"]).groupby("user")) == 700  # more users than the embedded data have
        asked.append((tree, options["dataset"]))
        return f"a warning\n{json.dumps(same | {'per_second': next(speeds)})}\n"

    def none(*anything: Any) -> dict[str, Any]:
        return {"method": "devicerec", "backend": "inprocess", "devices": 1, "per_second": 1.0, **same}

    monkeypatch.setattr(devices, "run_in", answer)
    monkeypatch.setattr(devices, "_in_a_process", none)
    options = devices.Options(sizes="1", methods="devicerec", ray=0, pfl=0, before=before, before_devices=700)
    found = devices.summary(devices.benchmark(options)).set_index("backend")
    assert [tree for tree, _ in asked] == [before, HERE] * 3
    assert len({file for _, file in asked}) == 1
    assert found.loc["now", "times_before"] == 3  # of 4, 2, 3
    assert pd.isna(found.loc["before", "times_before"])


def test_a_run_is_measured_on_the_sources_of_its_tree(tmp_path: Path) -> None:
    """Six users with 20 interactions, a minute apart: the last four of each are one session."""
    rows = [f"{user},{1 + (user + step) % 7},{10**9 + 60 * step}" for user in range(6) for step in range(20)]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["user,item,timestamp", *rows]))
    options = devices.Options(methods="devicerec", before=HERE, before_devices=6)
    row = devices._in_a_tree(options, "devicerec", str(file), devices.BEFORE)
    assert row["device_sessions"] == 6
    assert row["predictions"] == 24
    assert row["per_second"] == pytest.approx(6 / row["seconds"])
