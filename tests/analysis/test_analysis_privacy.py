"""The rows of an attack become a section of the report and a table; of several runs one figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from analysis import privacy as command
from analysis import style
from analysis.report import build_report
from analysis.run import load
from analysis.sections import privacy
from core import schema
from core.errors import UserError
from tests.support.fake_run import plausible_rows, write_run

VALUES = {"popularity": 0.5, "cooccurrence": 0.55, "history": 0.6, "upload": 0.65, "uploads": 0.7, "items": 1.0}


def attacked(folder: Path, defence: str, quality: float) -> Path:
    write_run(folder, plausible_rows(devices=5))
    rows = [
        {
            **{"run": folder.name, "method": "duet", "defence": defence, "protocol": "stream", "measure": measure},
            **{"attack": attack, "value": value, "low": value - 0.01, "high": value + 0.01, "sd": 0.002},
            **{"attackers": 3, "devices": 5, "requests": 20, "quality": quality, "bits_up": 2056.0},
            **{"epsilon_session": float("inf"), "epsilon_run": float("inf")},
        }
        for measure in ("recall@10", "membership_matched", "gender")
        for attack, value in VALUES.items()
        if measure != "gender" or attack not in ("popularity", "cooccurrence")
    ]
    pd.DataFrame(rows)[schema.names(schema.PRIVACY)].to_csv(folder / "privacy.csv", index=False)
    return folder


def test_the_report_has_its_section(tmp_path: Path) -> None:
    folder = attacked(tmp_path / "run", "none", 0.2)
    found = privacy.section(load(folder))
    assert found is not None
    assert "AUC 0.700, without requests 0.600" in found.finding
    assert "70.0 % of the last ten, without requests 60.0 %" in found.finding
    first = found.tables[0].rows[0]
    assert [cell.text for cell in first] == [
        "DUET",
        "none",
        "last 10 items, recall",
        *(f"{v:.4f}" for v in VALUES.values()),
    ]
    assert first[3].note == "0.4900 to 0.5100"
    assert found.tables[0].rows[2][3].text == "–"
    assert (folder / "figures" / "privacy.png").exists()
    assert privacy.TITLE in build_report(folder).read_text(encoding="utf-8")
    (folder / "privacy.csv").write_text("run,method\n1,2\n")
    with pytest.raises(UserError, match="is damaged"):
        privacy.section(load(folder))
    (folder / "privacy.csv").unlink()
    assert privacy.section(load(folder)) is None


def test_several_runs_have_one_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [attacked(tmp_path / "plain", "none", 0.2), attacked(tmp_path / "path", "path alone", 0.19)]
    command.compare(runs)
    assert set(pd.read_csv(tmp_path / "privacy" / "privacy.csv")["defence"]) == {"none", "path alone"}
    assert (tmp_path / "privacy" / "privacy.png").exists()
    shown = capsys.readouterr().out
    assert "DUET, defence: path alone" in shown
    assert "delete it to attack the run again" in shown
    with pytest.raises(UserError, match="--attackers is 0"):
        command.compare(runs, 0)


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_names_of_crowded_points_hide_neither_each_other_nor_a_point(width: style.Width) -> None:
    """Eight runs of which three are in one place, and three in another."""
    places = [(0.1485, 0.144), (0.1485, 0.144), (0.1482, 0.142), (0.1459, 0.108), (0.1450, 0.091), (0.1380, 0.056)]
    places += [(0.1361, 0.050), (0.1360, 0.052)]
    names = [
        "none",
        "8 bits",
        "4 bits",
        "policy every:4",
        *(f"clip 2, noise {n}" for n in (0.125, 0.5, 2)),
        "path alone",
    ]
    rows = [
        {"method": "duet", "measure": measure, "defence": name, "quality": quality, "attack": attack}
        | {"value": value, "low": value - 0.01, "high": value + 0.01}
        for measure in privacy.SHOWN
        for name, (quality, found) in zip(names, places, strict=True)
        for attack, value in (("uploads", found), ("history", 0.045))
    ]
    with style.use():
        figure = style.settle(privacy.draw(pd.DataFrame(rows), style.Sheet(["duet"], width=width)))
    for axis in figure.axes:
        written = {text.get_text(): Text.get_window_extent(text) for text in axis.texts}
        assert sorted(written) == sorted(names)
        points = axis.transData.transform(places)
        for name, box in written.items():
            assert axis.get_window_extent().contains(*box.min)
            assert axis.get_window_extent().contains(*box.max)
            assert not any(box.overlaps(other) for another, other in written.items() if another != name)
            assert not any(box.contains(*point) for point in points)
            near = np.clip(points[names.index(name)], box.min, box.max) - points[names.index(name)]
            assert np.hypot(*near) < 45 * figure.dpi / 72


def test_a_run_without_uploads_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plausible_rows(devices=5))
    with pytest.raises(UserError, match="play it with --uploads"):
        command.compare([tmp_path / "run"])


def test_no_run_is_attacked_before_all_are_known_to_be_attackable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks: list[str] = []

    def refuse(run: Path, data_dir: Path | None) -> None:
        if run.name == "silent":
            raise UserError(f"{run}: nothing to attack")

    monkeypatch.setattr("replay.privacy.measure.check", refuse)
    monkeypatch.setattr("replay.privacy.measure.measure", lambda run, *_: attacks.append(run.name))
    for name in ("asking", "silent"):
        write_run(tmp_path / name, plausible_rows(devices=5))
    with pytest.raises(UserError, match="silent: nothing to attack"):
        command.compare([tmp_path / "asking", tmp_path / "silent"])
    assert not attacks
