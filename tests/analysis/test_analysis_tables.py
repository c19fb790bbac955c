"""One specification of columns, rendered for a page, the terminal and Markdown."""

import math

import pandas as pd
import pytest
from rich.console import Console

from analysis.tables import Cell, Column, build, console, grouped_method_column, markdown, show, terminal
from analysis.text import between, percent, quality

FRAME = pd.DataFrame(
    {
        "setting": ["A", "A", "B", "B"],
        "method": ["duet", "gater", "duet", "gater"],
        "ndcg": [0.1, 0.2, 0.4, 0.4],
        "low": [0.05, 0.15, 0.3, math.nan],
        "high": [0.15, 0.25, 0.5, math.nan],
        "cost": [3.0, 1.0, 1.0, 2.0],
        "nothing": math.nan,
    }
)
COLUMNS = [
    grouped_method_column(str.upper, "in setting"),
    Column("NDCG@10", "ndcg", quality, "95 %", best=max, note=between("low", "high"), short="NDCG\n@10"),
    Column("Cost", "cost", "{:.0f}".format, best=min, explanation="Cost: of a day."),
    Column("Gone", "nothing", percent, optional=True, explanation="Never said."),
    Column("Kept", "nothing", percent),
]


def test_cells_follow_the_specification_and_the_best_of_each_group_is_marked() -> None:
    table = build(FRAME, COLUMNS, "A caption.", within=["setting"])
    assert table.header == [("Method", "in setting"), ("NDCG@10", "95 %"), ("Cost", ""), ("Kept", "")]
    assert table.rows[0] == [Cell("A: DUET"), Cell("0.1000", False, "0.0500 to 0.1500"), Cell("3"), Cell("–")]
    assert [row[1].best for row in table.rows] == [False, True, False, False]  # B has two of the same
    assert [row[2].best for row in table.rows] == [False, True, True, False]
    assert table.rows[3][1].note == ""
    assert table.caption == "A caption. Cost: of a day."
    whole = build(FRAME, COLUMNS)
    assert [row[1].best for row in whole.rows] == [False, False, True, True]


def test_the_terminal_stars_what_the_page_marks_and_takes_words_as_they_are() -> None:
    table = build(FRAME.assign(method=["[red]x", "y", "z", "z"]), COLUMNS, "[bold]not markup[/]")
    console = Console(width=100)
    with console.capture() as shown:
        console.print(terminal(table, "[i]title", [column for column in COLUMNS if not column.optional]))
    text = shown.get()
    assert "[i]title" in text
    assert "[bold]not markup[/]" in text
    assert "A: [RED]X" in text
    assert text.count("0.4000*") == 2
    assert text.count("1*") == 2
    assert "NDCG" in text
    assert "Kept" in text


def test_markdown_has_a_line_for_each_row() -> None:
    lines = markdown(build(FRAME.iloc[:1], COLUMNS))
    assert lines == [
        "| Method in setting | NDCG@10 95 % | Cost | Kept |",
        "| --- | ---: | ---: | ---: |",
        "| A: DUET | 0.1000 | 3 | – |",
    ]


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = "A caption of several sentences, which is longer than the terminal is wide. Its last word is: here."
    table = build(FRAME, COLUMNS, words)
    monkeypatch.setenv("COLUMNS", "20")
    show(terminal(table, "title"))
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if "0." in line]
    assert len(lines) == len(FRAME)
    for row, line in zip(table.rows, lines, strict=True):
        assert all(cell.text in line for cell in row[1:])
    below = said[said.index("A caption") :]
    assert " ".join(below.split()) == " ".join(table.caption.split())
    assert max(len(line.rstrip()) for line in below.splitlines()) <= 20


def test_where_there_is_no_terminal_a_line_has_120_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 120
    monkeypatch.setenv("COLUMNS", "87")
    assert console().width == 87
