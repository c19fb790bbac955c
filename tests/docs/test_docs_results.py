"""Results: each folder has a command that this version understands, and numbers in prose are those of the folders."""

import csv
import math
import os
import re
import runpy
import subprocess
from functools import cache

import pytest

from tests.support.snippets import ROOT, checked, options_exist, text_of

RESULTS = ROOT / "results"
FOLDERS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
commands = runpy.run_path(str(ROOT / "docs" / "generate.py"))["commands"]
LINK = re.compile(r"\]\((?:results/)?([\w-]+)\)")
NUMBER = re.compile(r"(?<![\d.,])0\.\d{4}(?!\d)")
"""A quality or a deviation as the documents write it, with four decimals."""


@cache
def numbers(folder: str) -> set[str]:
    """All numbers in the CSV files of a folder, with four decimals."""
    found = set()
    for file in (RESULTS / folder).rglob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            for cell in (cell for row in csv.reader(lines) for cell in row):
                try:
                    value = float(cell)
                except ValueError:
                    continue
                if math.isfinite(value):
                    found.add(f"{value:.4f}")
    return found


def sections(text: str) -> list[tuple[str, str]]:
    """The parts of a document below its headings of the third rank, with their titles."""
    return [(part.partition("\n")[0], part) for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_has_its_command(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = RESULTS / folder / "command.sh"
    lines = script.read_text(encoding="utf-8").splitlines()

    assert os.access(script, os.X_OK)
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert all(len(line) <= 120 for line in lines)
    subprocess.run(["bash", "-n", str(script)], check=True)
    found = commands(script)
    assert found
    for words in found:
        if words[2] == "sim.run":
            checked(words[3:])
        else:
            options_exist(words[2:], monkeypatch)


def test_no_table_names_a_place_of_a_machine() -> None:
    """Not even one of the machine on which it was made: a path below the root, after a space, a quote or an = say."""
    place = re.compile(r"""(?:^|[\s"'=,])/[\w.]""", re.MULTILINE)
    files = [path for path in RESULTS.rglob("*") if path.suffix in (".csv", ".toml", ".sh", ".md")]
    told = {str(path): place.findall(path.read_text(encoding="utf-8")) for path in files}
    assert len(files) > 50
    assert not {name: found for name, found in told.items() if found}


def test_every_folder_is_in_a_finding() -> None:
    linked = {folder for _, part in sections(text_of("results/README.md")) for folder in LINK.findall(part)}
    assert linked == set(FOLDERS)


@pytest.mark.parametrize(("title", "part"), sections(text_of("results/README.md")))
def test_numbers_of_a_finding_are_in_the_folders_it_names(title: str, part: str) -> None:
    known = set().union(*(numbers(folder) for folder in LINK.findall(part)))
    assert known, f"{title}: no folder is named"
    strange = [number for number in NUMBER.findall(part) if number not in known]
    assert not strange, f"{title}: {strange} are in none of its folders"


def test_numbers_of_the_readme_are_in_the_folders_it_names() -> None:
    part = text_of("README.md").partition("## Results\n")[2].partition("\n## ")[0]
    known = set().union(*(numbers(folder) for folder in LINK.findall(part)))
    found = NUMBER.findall(part)
    assert len(found) == 16
    assert set(found) <= known


def test_the_table_of_the_readme_is_that_of_its_folder() -> None:
    """Row by row: quality, its difference to DeviceRec, computing and traffic follow from ``summary.csv``."""
    titles = {
        "DeviceRec": "devicerec",
        "Finetune": "finetune",
        "DUET": "duet",
        "Forward-OFA": "forward-ofa",
        "DUET+": "duet-plus",
        "Forward-OFA+": "forward-ofa-plus",
        "Co-occurrence": "cooccurrence",
    }
    base = float(_summary("six", "devicerec")["ndcg@10"])
    for title, method in titles.items():
        row = _summary("six", method)
        gain, interval = "", ""
        if method != "devicerec":
            gain = f"{100 * (float(row['ndcg@10']) / base - 1):+.1f} %"
            interval = " to ".join(f"{100 * float(row[f'ndcg@10_delta_{end}']) / base:.1f}" for end in ("low", "high"))
        traffic = float(row["downlink_mbit"])
        cells = [title, f"{float(row['hit@10']):.4f}", f"{float(row['ndcg@10']):.4f}", gain, interval]
        cells += [f"{float(row['macs_m']):.2f}", f"{float(row['macs_session_m']):.1f}"]
        cells += [f"{traffic:.2f}" if traffic else "0"]
        line = ("| " + " | ".join(cells) + " |").replace("-", "−").replace("Forward−", "Forward-")
        line = line.replace("Co−", "Co-").replace("|  |", "| |").replace("|  |", "| |")
        assert line in text_of("README.md"), line


def _summary(folder: str, method: str) -> dict[str, str]:
    with (RESULTS / folder / "summary.csv").open(encoding="utf-8", newline="") as lines:
        (row,) = [row for row in csv.DictReader(lines) if row["method"] == method]
    return row
