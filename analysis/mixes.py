"""Device mixes side by side: what each kind of device gets in each of them, how fairly, and what a shift does."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import tier_pages
from analysis.figures import Drawn
from analysis.figures import mixes as mixes_figure
from analysis.names import join, quality, title
from analysis.page import Picture, Section, write
from analysis.settings import Setting
from analysis.tiers_table import fairness, fates, tier_table
from analysis.wording import records

READING = (
    "The same methods in different device mixes. The worst tier is the kind of device with the lowest NDCG@10; blocks, "
    "traffic and energy are means over all device-sessions, those that were not served included. Bars are 95 % "
    "bootstrap intervals over devices."
)
TIERS_READING = "Each setting by its kinds of devices, the slowest first."


def sections(settings: Sequence[Setting], table: pd.DataFrame, folder: Path) -> list[Section]:
    """Figure and tables, and ``tiers.csv``, ``fairness.csv`` and, if something failed, ``failures.csv`` in ``folder``.

    None where every setting has one kind of device only. ``table`` is that of the comparison.
    """
    parts = {
        "tiers": _together([tier_table(s.sessions, s.tiers, s.methods) for s in settings], settings),
        "fairness": _together([fairness(s.sessions, s.tiers, s.methods) for s in settings], settings),
    }
    if parts["fairness"].empty:
        return []
    failed = [fates(s.sessions, s.tiers, s.methods) for s in settings]
    parts["failures"] = _together([pd.DataFrame() if frame is None else frame for frame in failed], settings)
    for name, frame in parts.items():
        if not frame.empty:
            write(folder / f"{name}.csv", frame.to_csv(index=False))
    out = []
    if table["setting"].nunique() > 1:
        drawn = Drawn("mixes", mixes_figure, _shift(table, parts["tiers"]))
        page, phone = drawn.publish(folder / "figures")
        said = _said(drawn.frame)
        out.append(Section("mixes", drawn.title, READING, said, Picture.of(page, phone, f"{drawn.title}. {said}")))
    caption = f"{'; '.join(f'{setting.name}: {setting.label}' for setting in settings)}."
    shown = [tier_pages.tiers(parts["tiers"], caption), tier_pages.fairness(parts["fairness"])]
    if not parts["failures"].empty:
        shown.append(tier_pages.fates(parts["failures"]))
    return [*out, Section("tiers", "Kinds of devices in each setting", TIERS_READING, "", tables=shown)]


def _together(frames: Sequence[pd.DataFrame], settings: Sequence[Setting]) -> pd.DataFrame:
    """The frames of the settings below each other, with a first column ``setting``."""
    named = []
    for setting, frame in zip(settings, frames, strict=True):
        if not frame.empty:
            named.append(frame.assign(setting=setting.name)[["setting", *frame.columns]])
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame()


def _shift(table: pd.DataFrame, tiers: pd.DataFrame) -> pd.DataFrame:
    """What the figure needs of the comparison, with the quality of each method's worst tier in each setting."""
    worst = tiers.groupby(["setting", "method"], sort=False)["ndcg@10"].min().rename("worst").reset_index()
    kept = ["setting", "label", "method", "ndcg@10", "ndcg@10_low", "ndcg@10_high"]
    frame = table[[*kept, "served", "blocks", "downlink_mbit", "joules"]]
    return frame.merge(worst, on=["setting", "method"], how="left")


def _said(frame: pd.DataFrame) -> str:
    """Every later setting against the first, for the methods that both have."""
    rows = {(row["setting"], row["method"]): row for row in records(frame)}
    first = frame["setting"].iloc[0]
    texts = []
    for setting in frame["setting"].unique()[1:]:
        parts = [
            f"{title(method)} {quality(old['ndcg@10'])} to {quality(new['ndcg@10'])} (served "
            f"{100 * old['served']:.0f} % to {100 * new['served']:.0f} %)"
            for method in frame["method"].unique()
            if (old := rows.get((first, method))) and (new := rows.get((setting, method)))
        ]
        if parts:
            texts.append(f"From {first} to {setting}, NDCG@10: {join(parts)}.")
    return " ".join(texts)
