"""Reproducing tables: what each table and figure plays, counts and shows."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from analysis.reproduce import case_study, modules, quality, runs, times
from analysis.reproduce.__main__ import main
from analysis.reproduce.options import Options
from analysis.reproduce.result import Job, fill
from analysis.style import Sheet
from replay import case_study as study
from replay import measure
from sim.data import statistics
from tests.support.fake_run import plausible_rows, plausible_training, write_run
from tests.support.fake_simulator import Simulator, written
from tests.support.runs import call


def test_costs_are_the_papers_view_weighted_by_events(tmp_path: Path) -> None:
    rows = plausible_rows(2, 1, ["devicerec"]).assign(
        events=[3, 1], ndcg=[1.5, 0.0], hits=[2, 0], macs_paper=[624_400, 214_800], param_bits=[3_993_600, 1_331_200]
    )
    others = [name for name in rows if name.startswith(("hits_", "ndcg_", "mrr"))]
    rows = rows.assign(**dict.fromkeys(others, 0))
    (run,) = [quality.measured(runs.load(write_run(tmp_path, rows, methods=["devicerec"])), "devicerec")]

    assert run["ndcg"][0] == pytest.approx(1.5 / 4)
    assert run["hit"][0] == pytest.approx(2 / 4)
    assert run["flops"][0] == pytest.approx((3 * 0.6244 + 0.2148) / 4)
    assert run["param"][0] == pytest.approx((3.9936 + 1.3312) / 2)
    assert math.isnan(run["ndcg"][1])


def test_the_shortest_and_the_longest_training_are_said_of_all_seeds(tmp_path: Path) -> None:
    short = plausible_training(["duet"], seeds=[0], epochs=5)
    long = plausible_training(["duet"], seeds=[1], epochs=9)
    rows, some = plausible_rows(2, 1, ["duet"], [0, 1]), []
    for name, training in (("one", pd.concat([short, long])), ("two", None)):
        some.append(runs.load(write_run(tmp_path / name, rows, training, methods=["duet"])))
    assert quality.lengths(some) == [5, 9]


def test_data_the_paper_does_not_use_have_no_paper_numbers(tmp_path: Path, simulator: Simulator) -> None:
    options = Options(dataset="somewhere/shop.csv", backbone="sasrec", devices=10, out=tmp_path)
    cell, *_ = quality.reproduce(Job("table2", options)).cells.to_dict("records")
    assert cell["dataset"] == "shop.csv"
    assert cell["ours"] > 0
    assert math.isnan(cell["paper"])
    assert math.isnan(cell["difference"])


def test_improvement_is_forward_ofa_against_devicerec() -> None:
    job = Job("table1", Options(dataset="ml1m"))
    numbers = {"ndcg": ((0.1, 0.0969), (0.12, 0.1182)), "flops": ((0.6, math.nan), (0.4, math.nan))}
    for metric, pairs in numbers.items():
        for method, (ours, theirs) in zip(("devicerec", "forward-ofa"), pairs, strict=True):
            job.add("sasrec", method, metric, ours, paper=theirs)
    quality.add_improvements(job)
    cells = fill(job.rows)
    mine = cells[cells["method"] == "improvement"].set_index("metric")
    assert mine.loc["ndcg", "ours"] == pytest.approx(20.0)
    assert mine.loc["ndcg", "paper"] == pytest.approx(100 * (0.1182 / 0.0969 - 1))
    assert mine.loc["flops", "ours"] == pytest.approx(1.5)


def test_smaller_baselines_have_a_third_of_the_blocks(tmp_path: Path, simulator: Simulator) -> None:
    assert main(["table4", "--dataset", "ml1m", "--devices", "10", "--out", str(tmp_path)]) == 0
    blocks = {(call["backbone"], call["methods"]): int(call["blocks"]) for call in simulator.calls}
    assert {blocks["sasrec", m] for m in ("devicerec", "duet", "gater")} == {2}
    assert {blocks["nextitnet", m] for m in ("devicerec", "duet", "gater")} == {4}
    assert (blocks["sasrec", "forward-ofa"], blocks["nextitnet", "forward-ofa"]) == (6, 12)


def test_litepred_is_played_by_the_name_it_has_in_the_registry(tmp_path: Path, simulator: Simulator) -> None:
    assert (
        main(["table7", "--dataset", "ml1m", "--backbone", "nextitnet", "--devices", "10", "--out", str(tmp_path)]) == 0
    )
    assert [call["methods"] for call in simulator.calls] == ["devicerec", "finetune", "litepred", "forward-ofa"]
    frame = written(tmp_path, "table7").set_index(["method", "metric"])
    assert frame.loc[("litepred", "hit"), "paper"] == 0.1828


def test_of_a_tables_methods_those_are_played_that_are_wanted(tmp_path: Path, simulator: Simulator) -> None:
    words = ["--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    assert main(["table1", *words, "--methods", "forward-ofa,devicerec"]) == 0
    assert [call["methods"] for call in simulator.calls] == ["devicerec", "forward-ofa"]
    assert set(written(tmp_path, "table1")["method"]) == {"devicerec", "forward-ofa", "improvement"}
    assert "--methods forward-ofa,devicerec" in (tmp_path / "table1.md").read_text()


def test_table_1_epoch_by_epoch_says_when_the_papers_number_is_reached(tmp_path: Path, simulator: Simulator) -> None:
    # The paper has 0.0969 and 0.1140.
    curves = {"devicerec": [0.02, 0.0969, 0.12, 0.11], "duet": [0.05, 0.09, 0.1, 0.113]}
    simulator.curves = curves
    words = ["--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    assert main(["table1-epochs", *words, "--methods", "devicerec,finetune,duet"]) == 0
    frame = written(tmp_path, "table1-epochs")
    cells = frame[frame["metric"] != "epoch"].set_index(["method", "metric"])["ours"]
    assert cells["devicerec", "reached"] == 2
    assert math.isnan(cells["duet", "reached"])
    assert cells["devicerec"][["best", "best-epoch", "final"]].tolist() == [0.12, 3, 0.11]
    drawn = frame[frame["metric"] == "epoch"].groupby("method", sort=False)["ours"].apply(list)
    assert drawn.to_dict() == curves
    page = (tmp_path / "table1-epochs.md").read_text().splitlines()
    assert page[0].startswith("# Table 1: Validation NDCG@10 after each epoch")
    (row,) = [line for line in page if line.startswith("| DUET |")]
    assert row == "| DUET | 0.1140 | 0.1130 | −0.0010 | 0.1130 | 4 | – |"


def test_without_a_training_there_is_no_curve(
    tmp_path: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    assert main(["table1-epochs", *words, "--methods", "finetune"]) == 2
    assert capsys.readouterr().err.endswith("error: --methods finetune: none of them trains a model of its own\n")
    assert not list(tmp_path.glob("*.csv"))


def test_methods_of_our_own_stand_beside_the_papers(tmp_path: Path, simulator: Simulator) -> None:
    words = ["--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    assert main(["table4", "figure4", *words, "--also", "forward-ofa-plus,duet-plus"]) == 0
    blocks = {call["methods"]: call["blocks"] for call in simulator.calls}
    assert (blocks["duet-plus"], blocks["forward-ofa-plus"], blocks["duet"]) == ("2", "6", "2")
    table = written(tmp_path, "table4").set_index(["method", "metric"])
    assert math.isnan(table.loc[("forward-ofa-plus", "ndcg"), "paper"])
    assert table.loc[("forward-ofa-plus", "ndcg"), "ours"] > 0
    means = written(tmp_path, "figure4").query("metric == 'blocks'")
    assert means["method"].tolist() == ["mean number of blocks", "Forward-OFA+, mean number of blocks"]
    assert means["paper"].notna().tolist() == [True, False]


MEASURED = {
    "blocks": 6,
    "gflops": {"device": 17.894, "cloud": 355.8},
    "seconds": {"extract": 0.1, "generate": 0.5, "on-device": 10.0, "on-cloud": 20.0},
    "macs": {"extract": 1_789_400, "generate": 35_580_000, "on-device": 178_940_000, "on-cloud": 355_800_000},
}


def test_seconds_are_translated_by_gflops_and_counted_by_operations() -> None:
    translated = times.ways(MEASURED, "seconds")  # both sides are a hundredth of the paper's devices
    assert translated["forward-ofa"] == pytest.approx(0.006)
    assert translated["on-cloud"] == pytest.approx(0.2)
    assert translated["on-device"] == pytest.approx(0.1)
    assert times.ways(MEASURED, "here") == {"forward-ofa": 0.6, "on-cloud": 20.0, "on-device": 10.0}
    counted = times.ways(MEASURED, "counted")
    assert counted["forward-ofa"] == pytest.approx(2e-6 + 2e-6)
    assert counted["on-device"] == pytest.approx(2e-4)


def test_table_5_from_the_models_themselves(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "execute", lambda module, words: measure.main(words))
    assert main(["table5", "--out", str(tmp_path)]) == 0
    frame = written(tmp_path, "table5").set_index(["backbone", "method", "metric"])
    for key, exact in {
        ("sasrec", "backbone", "flops"): 0.6244,
        ("sasrec", "device", "size"): 0.050310,
        ("nextitnet", "backbone", "size"): 9.58464,
        ("nextitnet", "cloud", "flops"): 0.786432,
        ("nextitnet", "cloud", "size"): 19.26912,
        ("sasrec", "ratio", "size"): 50_310 / 124_800,
    }.items():
        assert frame.loc[key, "ours"] == pytest.approx(exact, abs=1e-9)
    both = frame[frame["paper"].notna() & ~frame.index.isin(["ratio"], level=1)]
    assert (both["difference"].abs() < 1.5e-4).all()


def test_statistics_stand_beside_table_6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data" / "ml-1m"
    data.mkdir(parents=True)
    lines = [f"{user}::{movie}::5::{movie}" for user in range(1, 26) for movie in (1, 2)]
    (data / "ratings.dat").write_text("\n".join(lines))
    (data / "movies.dat").write_text("1::A::Drama\n2::B::Drama\n")
    options = Options(dataset="ml1m", data_dir=tmp_path / "data", out=tmp_path / "out")

    monkeypatch.setattr(runs, "execute", lambda module, words: statistics.main(words))
    cells = modules.statistics(Job("table6", options)).cells.set_index("method")

    assert cells.loc["users", "paper"] == 6040
    assert cells.loc["users", "ours"] == 25
    assert cells.loc["interactions", "difference"] == 50 - 994_852
    assert cells.loc["mean length", "difference"] == pytest.approx(2 - 164.71)


def test_communication_is_weights_over_40_mbit_a_second(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"backbone": {"macs": 1, "weights": 124_800, "bits": 3_993_600}}
    monkeypatch.setattr(times, "measured", lambda *_: {**MEASURED, "counts": counts})
    options = Options(dataset="ml1m", backbone="sasrec", devices=10, out=tmp_path)
    cells = times.communication(Job("figure7", options)).cells.set_index(["method", "metric"])
    assert cells.loc[("regular", "communication"), "ours"] == pytest.approx(0.09984)
    assert cells.loc[("regular", "communication"), "paper"] == pytest.approx(0.09984)
    assert cells.loc[("forward-ofa", "communication"), "paper"] == pytest.approx(3.6384 / 40)
    sent = plausible_rows(10, 2, ["forward-ofa"])["blocks"].mean() * 20_800 * 32
    assert cells.loc[("forward-ofa", "communication"), "ours"] == pytest.approx(sent / 40e6)


def test_lambda_is_swept_and_blocks_are_counted(tmp_path: Path, simulator: Simulator) -> None:
    words = ["--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    assert main(["figure4", "figure5", "--penalties", "0,0.01", *words]) == 0
    assert [call.get("penalty") for call in simulator.calls] == [None, "0.0", "0.01"]
    frame = written(tmp_path, "figure4").set_index(["method", "metric"])["ours"]
    rows = plausible_rows(10, 2, ["forward-ofa"])
    assert frame["k = 1", "selected"] == pytest.approx(100 * (rows["path"] & 1).mean())
    assert frame["mean number of blocks", "blocks"] == pytest.approx(rows["blocks"].mean())
    assert written(tmp_path, "figure5")["method"].unique().tolist() == ["lambda 0", "lambda 0.01"]


def test_case_study_draws_what_the_simulator_found(tmp_path: Path, simulator: Simulator) -> None:
    item = {"item": 1, "title": "Heat (1995)", "genres": ["Action", "Crime"]}
    networks = [{"network": n, "path": [1, 0], "rank": r, "top": [item]} for n, r in (("own", 2), ("other", 40))]
    one = {"device": 3, "path": [1, 0], "partner": 5, "recent": [item], "next": item, "networks": networks}
    everyone = [{"network": n, "devices": 10, "hit@10": 0.4, "ndcg@10": 0.2, "blocks": 1.0} for n in ("own", "other")]
    options = Options(backbone="sasrec", devices=10, out=tmp_path)
    job = Job("figure6", options)
    run = job.runs.play("sasrec", "devicerec,forward-ofa")
    found = {"dataset": "x", "simulated": 10, "devices": [one], "everyone": everyone}
    (run.path / case_study.FILE).write_text(json.dumps(found))

    shown = case_study.reproduce(job)

    cells = shown.cells.set_index(["method", "metric"])["ours"]
    assert cells["device 3, another device's", "rank"] == 40
    assert cells["all devices, its own network", "hit"] == 0.4
    assert "device 3**, path ■□; recently Heat (1995) [Action/Crime]" in shown.text
    assert "another device's (device 5): next item on place 40" in shown.text
    assert shown.draw(Sheet()).axes


def test_from_raw_data_to_a_table_with_the_real_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its commands run in this process, and draw no pictures of the run."""
    commands = {"sim.run": lambda words: call(words, monkeypatch), "replay.case_study": study.main}

    def execute(module: str, words: list[str]) -> None:
        assert commands[module](words) == 0

    for module in (runs, case_study):
        monkeypatch.setattr(module, "execute", execute)
    monkeypatch.setattr("analysis.figures.collect", lambda run: {})
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    words = ["figure6", "--backbone", "sasrec", "--devices", "20", "--blocks", "2", "--epochs", "1"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0, capfd.readouterr().err[-2000:]
    frame = written(tmp_path / "out", "figure6")
    everyone = frame[frame["method"] == "all devices, DeviceRec's (dense)"].set_index("metric")["ours"]
    (folder,) = [p for p in (tmp_path / "out" / "runs").iterdir() if p.is_dir()]
    played = pd.read_csv(folder / "summary.csv").set_index("method")
    assert everyone["ndcg"] == pytest.approx(played.loc["devicerec", "ndcg@10"])
    own = frame[frame["method"] == "all devices, its own network"].set_index("metric")["ours"]
    assert own["ndcg"] == pytest.approx(played.loc["forward-ofa", "ndcg@10"])


def test_a_command_of_the_simulator_is_started_as_a_module_and_its_failure_is_known(
    capfd: pytest.CaptureFixture[str],
) -> None:
    runs.execute("sim.run", ["--help"])
    with pytest.raises(
        runs.CommandFailed, match=r"^python -m sim\.run --methods fedavg ended with status 2$"
    ) as failed:
        runs.execute("sim.run", ["--methods", "fedavg"])
    assert failed.value.status == 2
    shown = capfd.readouterr()
    assert "unknown method 'fedavg'" in shown.err  # the command says why
    assert shown.out == ""
