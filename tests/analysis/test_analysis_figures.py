"""What figures show, against counts made by hand; that files repeat; that colours stay apart."""

from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.markers import MarkerStyle

import analysis
from analysis import curves, figures, style
from analysis.drift import sessions_from_change
from analysis.figures import block_groups, block_usage, paths, tradeoff
from analysis.run import Run
from tests.support.fake_run import plausible_rows, plausible_training, write_run


def _run(tmp_path: Path, rows: pd.DataFrame, training: pd.DataFrame | None = None, **options: object) -> Run:
    methods = rows["method"].unique().tolist()
    return analysis.load(write_run(tmp_path, rows, training, methods=methods, **options))


def _three_blocks(tmp_path: Path) -> Run:
    """Device 0 runs block 1, then blocks 1 and 3; device 1 runs all three in its only session."""
    rows = plausible_rows(devices=2, sessions=2, methods=("forward-ofa",), blocks=3).iloc[:3].copy()
    rows["path"], rows["blocks"] = [0b001, 0b101, 0b111], [1, 2, 3]
    return _run(tmp_path, rows, blocks=3)


def test_block_usage_counts_blocks_and_devices(tmp_path: Path) -> None:
    frame = block_usage.data(_three_blocks(tmp_path))

    selected = frame[frame["panel"] == "selected"].set_index("block")
    devices = frame[frame["panel"] == "blocks"].set_index("block")
    assert selected["count"].to_dict() == pytest.approx({1: 3, 2: 1, 3: 2})
    assert selected["share"].to_dict() == pytest.approx({1: 1, 2: 1 / 3, 3: 2 / 3})
    assert devices["count"].to_dict() == pytest.approx({1: 0.5, 2: 0.5, 3: 1})
    assert devices["share"].sum() == pytest.approx(1)


def test_block_usage_is_a_mean_over_seeds(tmp_path: Path) -> None:
    once = block_usage.data(_run(tmp_path / "a", plausible_rows(devices=8, methods=("forward-ofa",))))
    rows = plausible_rows(devices=8, methods=("forward-ofa",))
    twice = block_usage.data(_run(tmp_path / "b", pd.concat([rows, rows.assign(seed=1)])))

    pd.testing.assert_frame_equal(once, twice)


def test_block_usage_shows_adaptive_methods_or_else_all(tmp_path: Path) -> None:
    mixed = _run(tmp_path / "a", plausible_rows(devices=8, tiers=True))
    fixed = _run(tmp_path / "b", plausible_rows(devices=8, methods=("devicerec", "duet"), tiers=True))

    assert block_usage.adaptive(mixed) == ["forward-ofa"]
    assert block_usage.adaptive(fixed) == []
    assert block_usage.data(fixed)["method"].unique().tolist() == ["devicerec", "duet"]


def test_paths_are_written_first_block_first(tmp_path: Path) -> None:
    frame = paths.data(_three_blocks(tmp_path))

    assert frame is not None
    assert frame["path"].tolist() == ["100", "101", "111"]
    assert frame["share"].tolist() == pytest.approx([1 / 3] * 3)
    assert frame["paths"].unique().tolist() == [3]


def test_sessions_are_aligned_at_each_devices_own_change() -> None:
    rows = pd.DataFrame(
        {
            "seed": 0,
            "device": [0, 0, 0, 1, 1, 2],
            "session": [0, 1, 2, 0, 1, 0],
            "phase": ["before", "during", "after", "before", "after", "stationary"],
        }
    )

    distance = sessions_from_change(rows)

    assert distance.tolist()[:5] == [-1, 0, 1, -1, 0]
    assert np.isnan(distance.iloc[5])


@pytest.mark.usefixtures("two_are_enough")
def test_bands_hold_the_ratio_of_sums_and_the_paired_difference() -> None:
    rows = pd.DataFrame(
        {
            "device": [0, 1, 0, 1, 0, 1],
            "method": ["devicerec"] * 2 + ["duet"] * 4,
            "events": [2, 6, 2, 6, 4, 4],
            "ndcg": [1.0, 0.6, 1.2, 1.2, 1.0, 3.0],
        }
    )

    frame = curves.along(rows, pd.Series([1, 1, 1, 1, 2, 2]), ["devicerec", "duet"]).set_index(["method", "at"])

    assert frame.loc[("devicerec", 1), "ndcg@10"] == pytest.approx(1.6 / 8)
    assert frame.loc[("duet", 1), "ndcg@10"] == pytest.approx(2.4 / 8)
    assert frame.loc[("duet", 1), "delta"] == pytest.approx(0.1)
    assert frame.loc[("duet", 1), ["delta_low", "delta_high"]].tolist() == pytest.approx([0.1, 0.1])
    assert frame.loc[("duet", 2), "ndcg@10"] == pytest.approx(0.5)
    assert np.isnan(frame.loc[("duet", 2), "delta"])
    assert frame.loc[("duet", 2), "devices"] == 2


def test_bands_end_where_too_few_devices_are_left() -> None:
    rows = pd.DataFrame({"device": [*range(40), *range(4), *range(3)]})
    at = pd.Series([1] * 40 + [2] * 4 + [3] * 3)

    assert at[curves.enough(rows, at)].unique().tolist() == [1, 2]


def test_the_pareto_front_agrees_with_its_definition() -> None:
    draw = np.random.default_rng(0)
    cost, value = draw.integers(0, 6, 40).astype(float), draw.integers(0, 6, 40).astype(float)

    front = tradeoff.pareto(cost, value)

    for i in range(40):
        beaten = any(
            cost[j] <= cost[i] and value[j] >= value[i] and (cost[j], value[j]) != (cost[i], value[i])
            for j in range(40)
        )
        assert front[i] == (not beaten)


def test_block_groups_are_the_shares_within_a_group(tmp_path: Path) -> None:
    run = _run(tmp_path, plausible_rows(devices=40, tiers=True, drift=True))

    frame = block_groups.data(run)

    assert frame is not None
    mine = run.sessions[(run.sessions["method"] == "forward-ofa") & (run.sessions["tier"] == "mid")]
    mine = mine[mine["path"] != 0]
    cell = frame[(frame["group"] == "mid") & (frame["block"] == 3)]
    assert cell["share"].item() == pytest.approx(((mine["path"] & 0b100) > 0).mean())
    assert set(frame["by"]) == {"tier", "phase"}


def test_only_figures_with_data_are_drawn(tmp_path: Path) -> None:
    plain = _run(tmp_path / "a", plausible_rows(devices=8, sessions=1, methods=("devicerec",)))
    rich = _run(tmp_path / "b", plausible_rows(devices=30, tiers=True, drift=True), plausible_training())

    assert set(figures.collect(plain)) == {"block_usage", "costs"}
    assert set(figures.collect(rich)) == set(figures.FIGURES)


def test_files_repeat_to_the_byte_and_lie_side_by_side(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", plausible_rows(devices=30, tiers=True, drift=True), plausible_training())

    chosen = ["quality_sessions", "paths", "costs"]
    drawings = {}
    for folder in (tmp_path / "one", tmp_path / "two"):
        found = figures.collect(run)
        drawings[folder.name] = [found[name].publish(folder) for name in chosen]

    assert drawings["one"] == drawings["two"]
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(f"{name}.{kind}" for name in chosen for kind in ("png", "pdf", "csv"))
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.parametrize("blocks", [1, 12])
def test_other_numbers_of_blocks_and_unknown_methods_can_be_drawn(tmp_path: Path, blocks: int) -> None:
    rows = plausible_rows(devices=12, methods=("forward-ofa", "first-k"), blocks=max(blocks, 2), tiers=True)
    if blocks == 1:
        rows["path"], rows["blocks"] = 1, 1
    run = _run(tmp_path, rows, blocks=blocks)

    for drawn in figures.collect(run).values():
        assert drawn.figure("narrow").axes


def test_methods_are_told_apart_without_colour() -> None:
    known = [*style.LOOKS, "first-k", "last-k", "random-block"]
    sheet = style.Sheet(known)
    looks = sheet.looks(known)

    assert len({look.marker for look in looks.values()}) == len(known)
    assert sheet.looks(known[::-1]) == looks
    assert sheet.looks(["random-block"]) == {"random-block": looks["random-block"]}
    assert {name: looks[name] for name in style.LOOKS} == style.LOOKS


def test_repainting_leaves_the_methods_alone() -> None:
    methods = {look.colour.lower() for look in style.LOOKS.values()}

    assert not methods & set(astuple(style.LIGHT))
    with style.use():
        line = style.Panel("", lambda axis: axis.plot([0, 1], color=style.LOOKS["duet"].colour))
        text = style.svg(style.Sheet().figure([line]))
    light, dark = text.split("prefers-color-scheme: dark")
    assert all(f"--{name}: {colour};" in light for name, colour in asdict(style.LIGHT).items())
    assert all(f"--{name}: {colour};" in dark for name, colour in asdict(style.DARK).items())
    assert all(text.count(colour) == 1 for colour in astuple(style.LIGHT))
    assert "stroke: var(--muted)" in dark
    assert style.LOOKS["duet"].colour.lower() in dark


def test_a_file_in_the_folder_is_a_figure_with_all_its_words() -> None:
    files = {path.stem for path in Path(figures.__file__).parent.glob("*.py")} - {"__init__"}

    assert files == set(figures.FIGURES)
    for module in figures.FIGURES.values():
        assert module.__doc__
        assert len(module.TITLE) > 4
        assert len(module.READING) > 40
        assert all(callable(getattr(module, name)) for name in ("data", "draw", "finding"))


def test_every_marker_has_a_face_and_is_one_methods_own() -> None:
    looks = [*style.LOOKS.values(), *style._SPARE]
    assert all(MarkerStyle(look.marker).is_filled() for look in looks)
    assert len({look.marker for look in looks}) == len(looks)
