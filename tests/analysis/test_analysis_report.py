"""The report: what is in it, that it repeats, and that a real browser shows it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis import captions, figures
from analysis.report import build_report, main
from analysis.sections import results
from analysis.summary import by_seed, each_against_each
from analysis.text import signed_percent
from tests.analysis.test_analysis_case_study import STUDY
from tests.support import browser
from tests.support.fake_run import plausible_rows, plausible_training, write_run


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with tiers, drift, two seeds, training and a case study, with its report."""
    rows = plausible_rows(devices=60, sessions=4, seeds=(0, 1), tiers=True, drift=True)
    folder = tmp_path_factory.mktemp("report") / "full"
    write_run(folder, rows, plausible_training(seeds=(0, 1)), scenario="mixed", drift="abrupt", dataset="my <data>.csv")
    (folder / "casestudy.json").write_text(json.dumps(STUDY), encoding="utf-8")
    build_report(folder)
    return folder


class Text(HTMLParser):
    """Checks that tags close in order, and collects words and attributes."""

    VOID = ("meta", "link", "img", "source", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words, self.urls = "", []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.urls += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data


def test_the_report_is_one_file_that_needs_nothing_else(full: Path) -> None:
    text = Text((full / "report.html").read_text(encoding="utf-8"))

    assert all(str(url).startswith(("data:", "#")) for url in text.urls)
    assert len(text.urls) > 2 * len(figures.FIGURES)
    assert "@import" not in (full / "report.html").read_text(encoding="utf-8")


def test_the_report_says_what_was_found_and_with_which_protocol(full: Path) -> None:
    words = " ".join(Text((full / "report.html").read_text(encoding="utf-8")).words.split()).replace("\u00a0", " ")
    summary = pd.read_csv(full / "summary.csv").set_index("method")

    assert f"{summary.loc['forward-ofa', 'ndcg@10']:.4f}" in words
    assert f"{100 * (1 - summary.loc['duet', 'served']):.1f} %" in words
    for fact in ("my <data>.csv", "last 20 %", "all 3,011 items", "cut-off 10", "seeds 0, 1", "mixed", "abrupt"):
        assert fact in words
    for drawn in figures.collect(analysis.load(full)).values():
        assert drawn.module.TITLE in words
        assert (full / "figures" / f"{drawn.name}.png").stat().st_size > 1000
    assert "nan" not in words.lower().split()


def test_methods_without_a_network_are_what_the_others_have_to_beat(tmp_path: Path) -> None:
    rows = plausible_rows(devices=30, methods=("devicerec", "duet", "forward-ofa", "popular", "cooccurrence"))
    nothing = rows["method"].isin(["popular", "cooccurrence"])
    for name in ("path", "blocks", "macs", "macs_paper", "param_bits"):
        rows.loc[nothing, name] = 0
    level = {"popular": 0.1, "cooccurrence": 0.3, "devicerec": 0.2, "duet": 0.4, "forward-ofa": 0.25}
    rows = rows.assign(hits=rows["events"], ndcg=rows["events"] * rows["method"].map(level))
    run = analysis.load(write_run(tmp_path, rows, methods=tuple(level)))
    assert run.references == ["popular", "cooccurrence"]
    (said,) = (text for text in results.in_short(run) if "without a network" in text)
    assert said == (
        "NDCG@10 without a network: cooccurrence 0.3000 and popular 0.1000; DeviceRec and Forward-OFA stay below "
        "cooccurrence."
    )
    assert not any(text.startswith(("popular", "cooccurrence")) and "MACs" in text for text in results.in_short(run))
    frame = figures.collect(run)["quality_sessions"]
    drawn = [line.get_label() for line in frame.figure().axes[1].get_lines()]
    assert "cooccurrence" in drawn  # the best of them; the other would hide the rest
    assert "popular" not in drawn


def test_summary_csv_is_the_summary(full: Path) -> None:
    pd.testing.assert_frame_equal(pd.read_csv(full / "summary.csv"), analysis.load(full).summary)


def test_methods_stand_against_each_other(full: Path) -> None:
    pairs, run = pd.read_csv(full / "pairs.csv"), analysis.load(full)
    pd.testing.assert_frame_equal(pairs, each_against_each(run.sessions, run.methods))
    (table,) = [
        one for one in results.section(run).tables if one.caption.startswith("NDCG@10 of the method of the row")
    ]
    row = pairs.set_index(["method", "against"]).loc[("forward-ofa", "duet")]
    (cells,) = [cells for cells in table.rows if cells[0].text == "Forward-OFA"]
    place = [name for name, _ in table.header].index("DUET")
    assert cells[place].text == signed_percent(row["ndcg@10_delta"] / row["ndcg@10_against"])
    low, high = (signed_percent(row[f"ndcg@10_delta_{end}"] / row["ndcg@10_against"]) for end in ("low", "high"))
    assert cells[place].note == f"{low} to {high}"
    own = [name for name, _ in table.header].index("Forward-OFA")
    assert (cells[own].text, cells[own].note) == ("", "")


def test_several_seeds_stand_alone_too_and_one_does_not(full: Path, tmp_path: Path) -> None:
    alone = pd.read_csv(full / "seeds.csv")
    run = analysis.load(full)
    pd.testing.assert_frame_equal(alone, by_seed(run.sessions, run.methods))
    (table,) = [one for one in results.section(run).tables if one.caption.startswith("NDCG@10 of each seed")]
    second = alone[(alone["method"] == "duet") & (alone["seed"] == 1)].iloc[0]
    base = second["ndcg@10"] - second["ndcg@10_delta"]
    (cells,) = [cells for cells in table.rows if cells[0].text == "DUET"]
    assert [name for name, _ in table.header] == ["Method", "Seed 0", "Seed 1"]
    assert cells[2].text == f"{second['ndcg@10']:.4f}"
    assert cells[2].note.startswith(signed_percent(second["ndcg@10_delta"] / base))
    assert cells[2].note.endswith(f"to {signed_percent(second['ndcg@10_delta_high'] / base)})")

    rows = plausible_rows(devices=6, sessions=1, methods=("devicerec",))
    single = analysis.load(write_run(tmp_path, rows, methods=("devicerec",)))
    assert not any(one.caption.startswith("NDCG@10 of each seed") for one in results.section(single).tables)


def test_figures_that_the_run_no_longer_has_are_removed(tmp_path: Path) -> None:
    rows = plausible_rows(devices=6, sessions=1, methods=("devicerec",))
    folder = write_run(tmp_path, rows, methods=("devicerec",))
    (folder / "figures").mkdir()
    (folder / "figures" / "tiers.png").write_bytes(b"old")
    (folder / "figures" / "mine.png").write_bytes(b"the user's own")

    first = build_report(folder).read_bytes()

    assert sorted(path.name for path in (folder / "figures").glob("*.png")) == [
        "block_usage.png",
        "costs.png",
        "mine.png",
    ]
    assert build_report(folder).read_bytes() == first
    assert not list(folder.glob(".*"))


def test_missing_device_sessions_are_pointed_out(tmp_path: Path) -> None:
    rows = plausible_rows(devices=6, sessions=1, methods=("duet", "forward-ofa")).iloc[:-1]
    folder = write_run(tmp_path, rows, methods=("duet", "forward-ofa"))

    words = Text(build_report(folder).read_text(encoding="utf-8")).words

    assert "did not play the same number of events" in words
    assert "DeviceRec was not played" in words


@pytest.mark.parametrize("what", ["nothing there", "no run"])
def test_the_command_refuses_in_one_line_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    folder = tmp_path if what == "no run" else tmp_path / "missing"

    assert main([str(folder)]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert str(folder) in printed.err


def test_the_command_as_a_user_types_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis.report", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "is not a run folder" in done.stderr


def test_the_command_line_of_a_run_is_quoted_and_leaves_paths_of_this_machine_out() -> None:
    options = {
        "dataset": "my data.csv",
        "methods": ["devicerec", "duet"],
        "cloud_users": "all",
        "quiet": True,
        "out": "/home/me/run",
        "data_dir": "/data",
        "sessions": 3,
    }

    assert captions.command(options) == (
        "python -m sim.run --dataset 'my data.csv' --methods devicerec,duet --cloud-users all --sessions 3"
    )


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """A tab of a real browser."""
    program = browser.find()
    if program is None:
        pytest.skip("no chromium is installed (apt-get install chromium)")
    with browser.page(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


IMAGES = """Promise.all([...document.images].map(image => image.decode().then(
    () => [image.naturalWidth, image.naturalHeight, image.getBoundingClientRect().width])))"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_real_browser_shows_every_figure(full: Path, tab: browser.Page, width: int, dark: bool) -> None:
    tab.open(full / "report.html", width, dark=dark)

    images = tab.value(IMAGES)

    assert len(images) == len(figures.FIGURES)
    assert all(min(natural_width, natural_height) > 0 for natural_width, natural_height, _ in images)
    assert all(0.6 * min(width, 960) < shown <= width for _, _, shown in images)
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.complaints() == []
    assert tab.requests() == [(full / "report.html").as_uri()]
    background = tab.value("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(23, 25, 28)" if dark else "rgb(255, 255, 255)")


def test_a_phone_gets_the_tall_figures_and_its_own_scroll_boxes(full: Path, tab: browser.Page) -> None:
    shape = "(i => i.naturalHeight / i.naturalWidth)(document.querySelector('#quality_sessions img'))"
    tab.open(full / "report.html", 1200)
    wide = tab.value(shape)
    tab.open(full / "report.html", 390)

    assert tab.value(shape) > 1 > wide
    assert tab.value("[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)")


def test_links_lead_somewhere(full: Path) -> None:
    page = (full / "report.html").read_text(encoding="utf-8")

    targets = set(re.findall(r'href="#(\w+)"', page))

    assert targets <= set(re.findall(r'id="(\w+)"', page))
    assert {"results", "protocol", "reproduce"} <= targets


def test_other_measures_have_a_table_of_their_own_that_names_the_sample(tmp_path: Path) -> None:
    rows = plausible_rows(devices=12, sessions=2)
    rows["hits_sampled"] = rows["hits"].astype(float)
    rows["ndcg_sampled"] = rows["ndcg"]
    run = analysis.load(write_run(tmp_path / "sampled", rows, evaluate="sampled:1000"))
    first, _, other = results.section(run).tables
    names = [name for name, _ in other.header]
    assert names == ["Method", "Hit@1", "Hit@5", "Hit@20", "NDCG@5", "NDCG@20", "MRR", "Hit@10", "NDCG@10", "Coverage"]
    assert "1 + 1,000 sampled candidates" in other.caption
    assert "the cut-offs that columns name" in other.caption
    assert "sampled" not in first.caption
    assert {row[-1].text for row in other.rows} == {"–"}  # no coverage was recorded
    plain = rows.drop(columns=["hits_sampled", "ndcg_sampled"])
    run = analysis.load(write_run(tmp_path / "plain", plain))
    other = results.section(run).tables[-1]
    assert "Hit@10" not in [name for name, _ in other.header]
    assert "sampled" not in other.caption.lower()
    earlier = plain.drop(columns=["hits_1", "hits_5", "hits_20", "ndcg_5", "ndcg_20", "mrr"])
    tables = results.section(analysis.load(write_run(tmp_path / "earlier", earlier))).tables
    assert not any("Hit@1" in [name for name, _ in table.header] for table in tables)
