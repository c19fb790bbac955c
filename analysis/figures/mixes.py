"""What happens when the mix of devices shifts: every method in every device mix of a comparison."""

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import dots

TITLE = "When the mix of devices shifts"


def draw(frame: pd.DataFrame) -> Figure:
    """Quality over all devices, of the worst kind of device, who is served, blocks, traffic and energy.

    ``frame`` has the columns ``setting, label, method, ndcg@10, ndcg@10_low, ndcg@10_high, worst, served, blocks,
    downlink_mbit, joules``.
    """
    figure, axes = style.panels(6, height=2.3)
    dots.draw(axes[0], frame, "setting", "ndcg@10", "ndcg@10_low", "ndcg@10_high")
    dots.draw(axes[1], frame, "setting", "worst")
    for axis, value in zip(axes[2:], ("served", "blocks", "downlink_mbit", "joules"), strict=True):
        dots.draw(axis, frame, "setting", value)
    style.percent_axis(axes[2])
    axes[2].set_ylim(-0.04, 1.06)
    for axis in axes[3:]:
        dots.from_zero(axis)
    names = ["NDCG@10", "NDCG@10 of the worst tier", "Sessions served", "Blocks, all sessions"]
    style.letter(axes, [*names, "Downlink, Mbit a session", "Energy, J a session"])
    style.legend(figure, axes[0])
    return figure
