"""What a run found in its data stands in its report, its warnings first."""

from pathlib import Path

import pytest
from rich.console import Console

import analysis
from analysis.report import build_report
from analysis.sections import data_facts
from tests.support.fake_run import plausible_rows, write_run

LAST = "warning: Times are <days>."
FACTS = """
[data_facts]
users = 6040
share_unseen_items = 0.643
median_pause_minutes = 1440.0
session_gap_minutes = inf
ties = "file"
shuffled = false
notes = ["12 users have no live event."]
warnings = ["64 % of the live events have an item that occurs in no training history.", "Times are <days>."]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = write_run(tmp_path, plausible_rows(devices=5, sessions=1, methods=("duet",)), methods=("duet",))
    with (path / "config.toml").open("a", encoding="utf-8") as file:
        file.write(FACTS)
    return path


def test_any_key_becomes_a_fact_with_a_title(folder: Path) -> None:
    section = data_facts.section(analysis.load(folder))
    assert section is not None
    assert section.title == "What the data say"
    assert [(name, text.replace("\u00a0", " ")) for name, text in section.facts] == [
        ("Users", "6,040"),
        ("Share of unseen items", "64.3 %"),
        ("Median pause minutes", "1,440"),
        ("Session gap minutes", "without limit"),
        ("Order of such rows (--ties)", "file"),
        ("Shuffled", "no"),
        ("Warning", "64 % of the live events have an item that occurs in no training history."),
        ("Warning", "Times are <days>."),
    ]
    assert section.finding == "12 users have no live event."


def test_warnings_come_first_on_the_page_and_last_below_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.figures.collect", lambda run: {})
    page = build_report(folder).read_text(encoding="utf-8")
    warning = '<p class="warning">Times are &lt;days&gt;.</p>'
    assert page.index(warning) < page.index('class="short"') < page.index('<section id="data_facts">')
    console = Console(width=200, record=True)
    with console.capture() as shown:
        console.print(analysis.terminal_table(analysis.load(folder)))
    words = " ".join(shown.get().split())
    assert words.endswith("warning: 64 % of the live events have an item that occurs in no training history. " + LAST)


def test_a_run_without_the_table_shows_nothing(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path, plausible_rows(devices=2, sessions=1)))
    assert data_facts.section(run) is None
    assert data_facts.warnings(run) == []
