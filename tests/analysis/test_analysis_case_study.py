"""The case study becomes a section of the report if its file is there."""

import json
from pathlib import Path

import pytest

from analysis.report import build_report, main
from analysis.run import load
from analysis.sections import case_study
from tests.support.fake_run import plausible_rows, write_run


def item(number: int, title: str, *genres: str) -> dict[str, object]:
    return {"item": number, "title": title, "genres": list(genres)}


def network(name: str, path: list[int], rank: int, *top: dict[str, object]) -> dict[str, object]:
    return {"network": name, "path": path, "rank": rank, "top": list(top)}


HEAT, ALIEN, UNNAMED = item(3, "Heat (1995)", "Action", "Crime"), item(7, "<Alien>", "Horror"), item(9, "")
STUDY = {
    "dataset": "ml1m",
    "backbone": "sasrec",
    "blocks": 3,
    "seed": 0,
    "candidates": 3011,
    "simulated": 5,
    "devices": [
        {
            "device": 4,
            "path": [1, 0, 1],
            "partner": 2,
            "recent": [UNNAMED, ALIEN],
            "next": HEAT,
            "networks": [
                network("own", [1, 0, 1], 1, HEAT, UNNAMED),
                network("all-blocks", [1, 1, 1], 2, ALIEN, HEAT),
                network("devicerec", [1, 1, 1], 1204, ALIEN, UNNAMED),
            ],
        }
    ],
    "everyone": [
        {"network": "own", "devices": 5, "hit@10": 0.4, "ndcg@10": 0.25, "blocks": 2.25},
        {"network": "all-blocks", "devices": 5, "hit@10": 0.6, "ndcg@10": 0.2, "blocks": 3.0},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "casestudy.json").write_text(json.dumps(STUDY), encoding="utf-8")
    return write_run(tmp_path, plausible_rows(devices=5, sessions=1), None)


def test_without_the_file_there_is_no_section(tmp_path: Path) -> None:
    assert case_study.section(load(write_run(tmp_path, plausible_rows(devices=5, sessions=1)))) is None


def test_the_lists_stand_side_by_side_and_what_came_next_is_marked(folder: Path) -> None:
    section = case_study.section(load(folder))

    assert section is not None
    everyone, device = section.tables
    assert [[(cell.text, cell.best) for cell in row] for row in everyone.rows] == [
        [("Its own", False), ("0.2500", True), ("0.4000", False), ("2.25", False)],
        [("All blocks", False), ("0.2000", False), ("0.6000", True), ("3.00", False)],
    ]
    assert device.header == [
        ("Place", ""), ("Its own", "blocks 1, 3"), ("All blocks", "all blocks"), ("DeviceRec", "all blocks")
    ]  # fmt: skip
    assert [[cell.text for cell in row] for row in device.rows] == [
        ["next item is at", "1", "2", "1,204"],
        ["1", "Heat (1995)", "<Alien>", "<Alien>"],
        ["2", "item 9", "Heat (1995)", "item 9"],
    ]
    marked = {(r, c) for r, row in enumerate(device.rows) for c, cell in enumerate(row) if cell.best}
    assert marked == {(1, 1), (2, 2)}
    assert device.rows[1][1].note == "Action, Crime"
    assert device.caption == (
        "Device 4; the other device is 2. Next: Heat (1995) (Action, Crime). Before it, the latest first: <Alien>; "
        "item 9."
    )
    assert section.finding == (
        "Place of the item that came next, of 3,011, with its own network: device 4: 1 (All blocks 2 and DeviceRec "
        "1,204)."
    )


def test_the_report_has_the_section_and_its_words_are_escaped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("analysis.figures.collect", lambda run: {})
    page = build_report(folder).read_text(encoding="utf-8")

    assert 'href="#case_study"' in page
    assert "&lt;Alien&gt;" in page
    assert "<Alien>" not in page
    (folder / "casestudy.json").write_text('{"blocks": 3}', encoding="utf-8")
    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert "casestudy.json is damaged" in error
    assert error.count("\n") == 1
