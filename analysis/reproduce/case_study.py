"""Figure 6: four devices, their paths, and what the top items become under networks that fit them and that do not."""

import itertools
import json
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.captions import BACKBONES
from analysis.reproduce.options import OURS, Options
from analysis.reproduce.quality import facts, identity, played
from analysis.reproduce.result import Result, fill
from analysis.reproduce.runs import Runs, data_folder, execute
from analysis.style import Sheet

FILE = "casestudy.json"
NETWORKS = {
    "own": "its own network",
    "all-blocks": "its own, all blocks on",
    "devicerec": "DeviceRec's (dense)",
    "other": "another device's",
}
_LOOKS = {"own": OURS, "all-blocks": "duet", "devicerec": "devicerec", "other": "gater"}
TITLES = 3
"""Items of a list that are named in the text."""


def reproduce(target: str, options: Options, runs: Runs) -> Result:
    """Play DeviceRec and Forward-OFA, and let ``replay.case_study`` look at the devices."""
    rows: list[dict[str, object]] = []
    studies: dict[str, dict[str, Any]] = {}
    for backbone, method in itertools.product(options.backbones, options.adaptive):
        run = runs.play(backbone, f"devicerec,{method}")
        path = run.path / FILE
        if not path.exists():
            execute("replay.case_study", [str(run.path), "--method", method, *data_folder(options)])
        found = json.loads(path.read_text(encoding="utf-8"))
        studies[BACKBONES[backbone] if method == OURS else f"{BACKBONES[backbone]}, {run.title(method)}"] = found
        about = identity(target, backbone, options) | played(run)
        before = "" if method == OURS else f"{run.title(method)}, "
        for one in found["devices"]:
            for n in one["networks"]:
                name = f"{before}device {one['device']}, {NETWORKS[n['network']]}"
                rows.append({**about, "method": name, "metric": "rank", "ours": n["rank"]})
        for network in found["everyone"]:
            name = f"{before}all devices, {NETWORKS[network['network']]}"
            rows.append({**about, "method": name, "metric": "ndcg", "ours": network["ndcg@10"]})
            rows.append({**about, "method": name, "metric": "hit", "ours": network["hit@10"]})
    text = "\n\n".join(_told(whose, found) for whose, found in studies.items())
    return Result(
        target,
        "Case study",
        fill(rows),
        [["ndcg", "hit"], ["rank"]],
        lambda sheet: _draw(studies, sheet),
        facts(target, options, runs),
        text,
        titles=runs.titles,
    )


def _told(whose: str, found: dict[str, Any]) -> str:
    """The devices in words, as Markdown."""
    lines = []
    for one in found["devices"]:
        path = "".join("■" if on else "□" for on in one["path"])
        lines.append(
            f"**{whose}, device {one['device']}**, path {path}; recently "
            f"{_names(one['recent'][-TITLES:])}; next: {_names([one['next']])}.\n"
        )
        lines += [
            f"- {NETWORKS[n['network']]}"
            + (f" (device {one['partner']})" if n["network"] == "other" else "")
            + f": next item on place {n['rank']:,}; first {_names(n['top'][:TITLES])}"
            for n in one["networks"]
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def _names(items: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{item['title']} [{'/'.join(item['genres'])}]" if item["genres"] else item["title"] for item in items
    )


def _draw(studies: dict[str, dict[str, Any]], sheet: Sheet) -> Figure:
    """Each backbone and method: the paths, the ranks of the next item, the mean over all devices."""
    figure, axes = sheet.panels(3 * len(studies), height=2.5, most=3)
    titles = []
    for place, (whose, found) in enumerate(studies.items()):
        paths, places, means = axes[3 * place : 3 * place + 3]
        devices = found["devices"]
        labels = [f"device {one['device']}" for one in devices]
        for y, one in enumerate(devices):
            for k, on in enumerate(one["path"]):
                face = style.LOOKS[OURS].colour if on else "none"
                paths.scatter(k + 1, y, marker="s", s=60, facecolors=face, edgecolors=style.LIGHT.muted, linewidths=0.7)
        paths.set_xlabel("block")
        style.whole_numbers(paths)
        ranked = pd.DataFrame([{**n, "y": y} for y, one in enumerate(devices) for n in one["networks"]])
        for network, part in ranked.groupby("network", sort=False):
            look = style.LOOKS[_LOOKS[str(network)]]
            places.scatter(part["rank"], part["y"], color=look.colour, marker=look.marker, label=NETWORKS[str(network)])
        places.set_xscale("log")
        places.set_xlabel("place of the next item")
        for axis in (paths, places):
            axis.set_yticks(range(len(labels)), labels if axis is paths else [])
            axis.set_ylim(len(labels) - 0.5, -0.5)
        everyone = found["everyone"]
        for y, network in enumerate(everyone):
            means.barh(y, network["ndcg@10"], 0.6, color=style.LOOKS[_LOOKS[network["network"]]].colour)
        means.set_yticks([])
        means.invert_yaxis()
        means.set_xlabel("NDCG@10, all devices")
        means.locator_params(axis="x", nbins=4)
        titles += [f"{whose}: paths", "Next item", f"All {found['simulated']:,} devices"]
    style.letter(axes, titles)
    sheet.legend(figure, axes[1])
    return figure
