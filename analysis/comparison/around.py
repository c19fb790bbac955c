"""Before, during and after the change, in every world of a comparison."""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.figures.change_point import AFTER, AFTER_AGAINST_DEVICEREC, BEFORE, RECOVERY, SECOND
from analysis.page import Section
from analysis.policies import worlds
from analysis.run_groups import RunGroup
from analysis.tables import Column, build, grouped_method_column
from analysis.text import best_row, join, quality, records, signed_percent

TITLE = "Before, during and after the change"
READING = (
    "Streams are named by what sets them apart. An abrupt change happens in one session, a gradual one in several. "
    "After is of all devices that play after it; before, during and kept are of those that play before it, too."
)


def section(groups: Sequence[RunGroup], frame: pd.DataFrame, title: Callable[[str], str], protocol: str) -> Section:
    """All worlds in one table; ``frame`` as :func:`analysis.policies.by_world` gives it."""
    columns = [
        grouped_method_column(title, "on these streams", by="world"),
        Column("NDCG@10", "ndcg@10", quality, "all"),
        *BEFORE,
        AFTER,
        *AFTER_AGAINST_DEVICEREC,
        RECOVERY,
        SECOND,
    ]
    caption = (
        f"Devices ask: {join(frame['policy'].unique().tolist())}. ● best after the change; small: 95 % intervals over "
        f"devices, paired for differences. {protocol} A dash: no change point is known."
    )
    configs = {world: members[0].runs[0].config for world, members in worlds(groups).items()}
    drifts = {world: config.get("data", {}).get("drift") for world, config in configs.items()}
    said = " ".join(f"{world}: {text}" for world, text in drifts.items() if text)
    return Section("around", TITLE, READING, said, tables=[build(frame, columns, caption, within=["world"])])


def in_short(frame: pd.DataFrame, title: Callable[[str], str]) -> list[str]:
    """Of each world: which method is best, and what the change costs."""
    texts = []
    for world, mine in frame.groupby("world", sort=False):
        best = best_row(records(mine))
        text = f"{world}, {best['policy']}: {title(best['method'])} is best with NDCG@10 {quality(best['ndcg@10'])}"
        losses = [
            f"{title(row['method'])} {signed_percent(row['kept'] - 1)}" for row in records(mine[mine["before"] > 0])
        ]
        texts.append(
            f"{text}; after the change against before it, on the same devices: {join(losses)}."
            if losses
            else f"{text}."
        )
    return texts
