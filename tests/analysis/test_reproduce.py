"""Reproducing tables: what is compared with what, what is said, and what a killed command finds again."""

import math
from pathlib import Path

import pytest

from analysis.reproduce import runs
from analysis.reproduce.__main__ import main
from analysis.reproduce.options import Options, parse
from analysis.reproduce.result import Result, fill, markdown
from analysis.reproduce.runs import CommandFailed, Runs
from tests.support.fake_run import TITLES, plausible_rows
from tests.support.fake_simulator import Simulator, written

TARGETS = ["table1", "table2"]


def test_cells_hold_the_papers_number_ours_and_the_difference(tmp_path: Path, simulator: Simulator) -> None:
    words = ["table2", "--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10", "--seeds", "2"]

    assert main([*words, "--out", str(tmp_path)]) == 0

    frame = written(tmp_path, "table2")
    rows = plausible_rows(10, 2, ["duet"], [0, 1])
    by_seed = [float(part["hits"].sum() / part["events"].sum()) for _, part in rows.groupby("seed")]
    (cell,) = frame[(frame["method"] == "duet") & (frame["metric"] == "hit")].to_dict("records")
    assert cell["paper"] == 0.2043
    assert cell["ours"] == pytest.approx((by_seed[0] + by_seed[1]) / 2)
    assert cell["spread"] == pytest.approx(abs(by_seed[0] - by_seed[1]) / math.sqrt(2))
    assert cell["difference"] == pytest.approx(cell["ours"] - 0.2043)
    assert (cell["dataset"], cell["protocol"], cell["devices"], cell["seeds"]) == ("ml1m", "paper", 10, 2)
    assert [call["methods"] for call in simulator.calls] == ["devicerec", "forward-ofa-controller", "duet"]


def test_an_interrupted_table_is_finished_by_the_same_command(
    tmp_path: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["table2", "--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    simulator.fails_after = 2
    assert main(words) == 130
    assert not (tmp_path / "table2.csv").exists()

    simulator.fails_after = None
    assert main(words) == 0
    assert [call["methods"] for call in simulator.calls] == ["devicerec", "forward-ofa-controller", "duet"]
    first = (tmp_path / "table2.csv").read_bytes()

    assert main(words) == 0
    assert len(simulator.calls) == 3
    assert (tmp_path / "table2.csv").read_bytes() == first


def test_tables_share_runs_and_other_options_do_not(tmp_path: Path, simulator: Simulator) -> None:
    words = ["--backbone", "sasrec", "--devices", "10", "--out", str(tmp_path)]
    assert main(["table2", "table3", *words]) == 0
    methods = [call["methods"] for call in simulator.calls]
    assert methods.count("devicerec") == 1
    assert main(["table2", *words, "--epochs", "3"]) == 0
    assert len(simulator.calls) == len(methods) + 3


def test_the_two_protocols_as_sim_run_knows_them() -> None:
    pairs = Options(protocol="tuned", devices=7, epochs=4).run_options("sasrec", "duet", 6)
    given = dict(zip(pairs[::2], pairs[1::2], strict=True))
    assert given["--protocol"] == "paper"
    assert (given["--targets"], given["--patience"], given["--context"], given["--memory"]) == (
        "session",
        "8",
        "10",
        "50",
    )
    assert given["--epochs"] == "4"
    plain = Options().run_options("nextitnet", "duet", 12)
    assert "--targets" not in plain
    assert "--epochs" not in plain


def test_what_follows_two_dashes_goes_to_sim_run() -> None:
    targets, options = parse(["table1", "--devices", "5", "--", "--cloud-users", "all"], TARGETS)
    assert targets == ["table1"]
    assert options.run_options("sasrec", "duet", 6)[-2:] == ["--cloud-users", "all"]
    assert options.command("table1") == "python -m analysis.reproduce table1 --devices 5 -- --cloud-users all"


MISTAKES = [
    ["tabel1"],
    ["table9"],
    ["table1", "--devices", "0"],
    ["table1", "--seeds", "-1"],
    ["table1", "--methods", "dute"],
    ["table7", "--backbone", "nextitnet", "--methods", "duet"],
]


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(
    words: list[str], simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: ")
    assert not simulator.calls


def test_a_failed_command_gives_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Runs(Options(out=tmp_path))
    with pytest.raises(CommandFailed) as failed:
        folder.file("x", "sim.data.statistics", ["nonsense"], "--csv")
    assert failed.value.status == 2
    assert not (tmp_path / "runs" / "x").exists()


def test_page_and_picture_say_protocol_machine_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "execute", Simulator())
    words = ["table1", "--dataset", "ml1m", "--backbone", "nextitnet", "--devices", "10", "--epochs", "3"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    page = (tmp_path / "table1.md").read_text()
    assert "python -m analysis.reproduce table1 --dataset ml1m --backbone nextitnet --devices 10 --epochs 3" in page
    assert runs.machine() in page
    assert "leave-one-out" in page
    assert "is SASRec's" in page
    assert str(tmp_path) not in page
    assert "| DUET | 0.1175 |" in page
    assert (tmp_path / "table1.png").stat().st_size > 10_000


def test_data_that_only_share_the_name_are_told_apart(tmp_path: Path, simulator: Simulator) -> None:
    for dataset in ("ml1m", "amazon-game"):
        words = ["table2", "--dataset", dataset, "--backbone", "sasrec", "--devices", "10"]
        assert main([*words, "--out", str(tmp_path / dataset)]) == 0
    said = "another release than the paper's"
    assert said not in (tmp_path / "ml1m" / "table2.md").read_text()
    assert said in (tmp_path / "amazon-game" / "table2.md").read_text()  # the fake run's data are ML-1M's


def test_another_context_than_the_papers_is_said(tmp_path: Path, simulator: Simulator) -> None:
    words = ["table2", "--dataset", "ml1m", "--backbone", "sasrec", "--devices", "10"]
    said = "ours are of 10 items, the paper's of 5."
    for protocol, differs in (("paper", False), ("tuned", True)):
        assert main([*words, "--protocol", protocol, "--out", str(tmp_path / protocol)]) == 0
        assert (said in (tmp_path / protocol / "table2.md").read_text()) is differs


def test_columns_without_a_paper_number_show_ours_alone() -> None:
    rows: list[dict[str, object]] = [
        {"backbone": "sasrec", "method": "duet", "metric": "ndcg", "ours": 0.25, "spread": 0.01},
        {"backbone": "sasrec", "method": "duet", "metric": "hit", "ours": 0.5, "paper": 0.75},
    ]
    page = markdown(Result("table2", fill(rows), [["ndcg", "hit"]], lambda _: None, "x", titles=TITLES))  # type: ignore[arg-type, return-value]
    assert "| SASRec | NDCG@10 ours | Hit@10 paper | Hit@10 ours | Hit@10 diff. |" in page
    assert "| DUET | 0.2500 ± 0.0100 | 0.7500 | 0.5000 | −0.2500 |" in page
