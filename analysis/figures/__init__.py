"""The figures of a report, one module each.

Every module has ``TITLE``, ``data(run)`` (the frame behind the figure, or None if the run does not hold it)
and ``draw(frame)``, which sees nothing but that frame: the CSV beside a picture is all there is in it.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.figures import (
    block_groups,
    block_usage,
    budget,
    change_point,
    costs,
    fairness,
    paths,
    quality_sessions,
    requests,
    stale_fresh,
    tier_costs,
    tiers,
    tradeoff,
    training,
)
from analysis.loading import Run

FIGURES: dict[str, ModuleType] = {
    "quality_sessions": quality_sessions,
    "change_point": change_point,
    "requests": requests,
    "stale_fresh": stale_fresh,
    "tradeoff": tradeoff,
    "block_usage": block_usage,
    "block_groups": block_groups,
    "paths": paths,
    "tiers": tiers,
    "tier_costs": tier_costs,
    "fairness": fairness,
    "budget": budget,
    "costs": costs,
    "training": training,
}
"""By the name of their files, in the order of the report."""


@dataclass(frozen=True)
class Drawn:
    """A figure of a run, with the frame behind it."""

    name: str
    module: ModuleType
    frame: pd.DataFrame

    @property
    def title(self) -> str:
        """What it is called in a report."""
        return str(self.module.TITLE)

    def figure(self, width: style.Width = "wide") -> Figure:
        """Draw it, laid out for a page or for a phone."""
        with style.use(width):
            return style.settle(self.module.draw(self.frame))

    def publish(self, folder: Path) -> tuple[str, str]:
        """Write PNG, PDF and CSV side by side; the result is the SVG for a page and the one for a phone."""
        folder.mkdir(parents=True, exist_ok=True)
        self.frame.to_csv(folder / f"{self.name}.csv", index=False)
        page, phone = self.figure(), self.figure("narrow")
        with style.use():
            style.save(page, folder / self.name)
            return style.svg(page), style.svg(phone)


def collect(run: Run) -> dict[str, Drawn]:
    """The figures for which the run holds data."""
    found = {}
    for name, module in FIGURES.items():
        frame = module.data(run)
        if frame is not None:
            found[name] = Drawn(name, module, frame)
    return found
