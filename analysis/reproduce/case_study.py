"""Figure 6: four devices, their paths, and what the top items become under networks that fit them and that do not."""

import itertools
import json
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.captions import BACKBONES
from analysis.reproduce.options import OURS
from analysis.reproduce.quality import facts
from analysis.reproduce.result import Job, Result
from analysis.reproduce.runs import data_folder, execute
from analysis.sections.case_study import FILE
from analysis.style import Panel, Sheet

NETWORKS = {
    "own": "its own network",
    "all-blocks": "its own, all blocks on",
    "devicerec": "DeviceRec's (dense)",
    "other": "another device's",
}
_LOOKS = {"own": OURS, "all-blocks": "duet", "devicerec": "devicerec", "other": "gater"}
TITLES = 3
"""Items of a list that are named in the text."""


def reproduce(job: Job) -> Result:
    """Play DeviceRec and Forward-OFA, and let ``replay.case_study`` look at the devices."""
    studies: dict[str, dict[str, Any]] = {}
    for backbone, method in itertools.product(job.options.backbones, job.options.adaptive):
        run = job.runs.play(backbone, f"devicerec,{method}")
        path = run.path / FILE
        if not path.exists():
            execute("replay.case_study", [str(run.path), "--method", method, *data_folder(job.options)])
        found = json.loads(path.read_text(encoding="utf-8"))
        studies[BACKBONES[backbone] if method == OURS else f"{BACKBONES[backbone]}, {run.title(method)}"] = found
        before = "" if method == OURS else f"{run.title(method)}, "
        for one in found["devices"]:
            for network in one["networks"]:
                name = f"{before}device {one['device']}, {NETWORKS[network['network']]}"
                job.add(backbone, name, "rank", network["rank"], run)
        for network in found["everyone"]:
            name = f"{before}all devices, {NETWORKS[network['network']]}"
            for metric in ("ndcg", "hit"):
                job.add(backbone, name, metric, network[f"{metric}@10"], run)
    text = "\n\n".join(_told(whose, found) for whose, found in studies.items())
    groups = [["ndcg", "hit"], ["rank"]]
    return job.result(groups, lambda _, sheet: _draw(studies, sheet), facts(job), "Case study", text)


def _told(whose: str, found: dict[str, Any]) -> str:
    """The devices in words, as Markdown."""
    lines = []
    for one in found["devices"]:
        path = "".join("■" if on else "□" for on in one["path"])
        recently, following = _names(one["recent"][-TITLES:]), _names([one["next"]])
        lines.append(f"**{whose}, device {one['device']}**, path {path}; recently {recently}; next: {following}.\n")
        for network in one["networks"]:
            partner = f" (device {one['partner']})" if network["network"] == "other" else ""
            first = _names(network["top"][:TITLES])
            name = f"{NETWORKS[network['network']]}{partner}"
            lines.append(f"- {name}: next item on place {network['rank']:,}; first {first}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _names(items: list[dict[str, Any]]) -> str:
    return ", ".join(item["title"] + (f" [{'/'.join(item['genres'])}]" if item["genres"] else "") for item in items)


def _draw(studies: dict[str, dict[str, Any]], sheet: Sheet) -> Figure:
    """Each backbone and method: the paths, the ranks of the next item, the mean over all devices."""
    panels = []
    for whose, found in studies.items():

        def device_axis(axis: Axes, devices: list[dict[str, Any]], named: bool) -> None:
            names = [f"device {one['device']}" for one in devices]
            axis.set_yticks(range(len(devices)), names if named else [])
            axis.set_ylim(len(devices) - 0.5, -0.5)

        def paths(axis: Axes, devices: list[dict[str, Any]] = found["devices"]) -> None:
            square: dict[str, Any] = {"marker": "s", "s": 60, "edgecolors": style.LIGHT.muted, "linewidths": 0.7}
            for y, one in enumerate(devices):
                for k, on in enumerate(one["path"]):
                    axis.scatter(k + 1, y, facecolors=style.LOOKS[OURS].colour if on else "none", **square)
            style.whole_numbers(axis)
            device_axis(axis, devices, named=True)

        def places(axis: Axes, devices: list[dict[str, Any]] = found["devices"]) -> None:
            ranked = pd.DataFrame([{**n, "y": y} for y, one in enumerate(devices) for n in one["networks"]])
            for network, part in ranked.groupby("network", sort=False):
                look, label = style.LOOKS[_LOOKS[str(network)]], NETWORKS[str(network)]
                axis.scatter(part["rank"], part["y"], color=look.colour, marker=look.marker, label=label)
            axis.set_xscale("log")
            device_axis(axis, devices, named=False)

        def means(axis: Axes, everyone: list[dict[str, Any]] = found["everyone"]) -> None:
            for y, network in enumerate(everyone):
                axis.barh(y, network["ndcg@10"], 0.6, color=style.LOOKS[_LOOKS[network["network"]]].colour)
            axis.set_yticks([])
            axis.invert_yaxis()
            axis.locator_params(axis="x", nbins=4)

        panels += [
            Panel(f"{whose}: paths", paths, "block"),
            Panel("Next item", places, "place of the next item"),
            Panel(f"All {found['simulated']:,} devices", means, "NDCG@10, all devices"),
        ]
    return sheet.figure(panels, height=2.5, most=3)
