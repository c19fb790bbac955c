"""What each kind of device gets: quality, who is served, and what the network computes there."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import dots
from analysis.loading import Run
from analysis.tiers_table import tier_table

TITLE = "Kinds of devices"


def data(run: Run) -> pd.DataFrame | None:
    """Columns :data:`analysis.tiers_table.TIER_COLUMNS`; None if all devices are of one kind."""
    return tier_table(run.sessions, run.tiers, run.methods) if len(run.tiers) > 1 else None


def draw(frame: pd.DataFrame) -> Figure:
    """Three panels, one point per method and kind of device."""
    figure, axes = style.panels(3, height=2.8)
    dots.draw(axes[0], frame, "tier", "ndcg@10", "low", "high")
    dots.draw(axes[1], frame, "tier", "served")
    dots.draw(axes[2], frame, "tier", "macs_m")
    style.percent_axis(axes[1])
    axes[1].set_ylim(-0.04, 1.06)
    dots.from_zero(axes[2])
    style.letter(axes, ["NDCG@10", "Sessions served", "Million MACs"])
    style.legend(figure, axes[0])
    return figure
