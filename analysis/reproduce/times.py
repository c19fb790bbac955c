"""Table 8, how long a device waits for a network that fits it, and Figure 7, how long the network travels.

Measured on this machine and translated as the paper does it: seconds times our GFLOPS (of a matrix product) divided by
the GFLOPS of the device that the paper names. "Counted" is what nobody can be faster than: the operations divided by
the peak.
"""

import math
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import captions, style
from analysis.reproduce import paper
from analysis.reproduce.modules import here, measured
from analysis.reproduce.options import OURS
from analysis.reproduce.quality import facts
from analysis.reproduce.result import Job, Result, row_title
from analysis.style import Panel, Sheet

GPU, PHONE = "RTX 3090", "iPhone 16"
WAYS = (OURS, "on-cloud", "on-device")


def adaptation(job: Job) -> Result:
    """Table 8: Forward-OFA's adaptation, on-cloud and on-device fine-tuning, side by side."""
    table, said = paper.read(job.target), []
    peak = table["devices"]
    scale = peak[GPU] / peak[PHONE]
    for backbone in job.options.backbones:
        found = measured(job, backbone)
        ours = pd.DataFrame({metric: ways(found, metric) for metric in ("seconds", "here", "counted")})
        printed = pd.DataFrame({"seconds": dict(zip(table["ways"], table[backbone], strict=True))})
        about = {name: found[name] for name in ("blocks", "context", "memory")}
        for frame in (ours, printed):
            frame.loc["on-cloud-scaled"] = frame.loc["on-cloud"].where(frame.columns == "seconds") * scale
            for way in WAYS[1:]:
                frame.loc[f"{way}-times"] = frame.loc[way] / frame.loc[OURS]
        for way in (OURS, "on-cloud", "on-cloud-scaled", "on-device", "on-cloud-times", "on-device-times"):
            for metric, mine in ours.loc[way].dropna().to_dict().items():
                theirs = printed["seconds"][way] if metric == "seconds" else math.nan
                job.add(backbone, way, str(metric), mine, paper=theirs, **about)
        macs = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in found["macs"].items())
        said.append(
            f"{backbone}: {found['items']:,} items, a device with {found['interactions']} interactions; "
            f"multiply-accumulates: {macs}; a matrix product reaches {found['gflops']['device']:,.0f} GFLOPS "
            f"on the device's side and {found['gflops']['cloud']:,.0f} in the cloud."
        )
    note = (
        f"In the first columns measured seconds are translated to the paper's devices: extractors and on-device "
        f"training to the {PHONE} ({peak[PHONE]:,.1f} GFLOPS), mapper and on-cloud training to the {GPU} "
        f"({peak[GPU]:,.0f} GFLOPS). Counted: two operations a multiply-accumulate, divided by the peak. "
        "On-device: three Adam steps on the last 100 targets; on-cloud: one epoch over all of the device's items and "
        'over all parameters. "Scaled to the phone" is how the paper got its on-device seconds, with the '
        "GFLOPS it names."
    )
    return job.result([["seconds"], ["here", "counted"]], _bars, [*said, note, here(found)])


def ways(found: dict[str, Any], metric: str) -> dict[str, float]:
    """Seconds of the three ways to adapt: measured ``here``, translated (``seconds``), or ``counted``."""
    peak = paper.read("table8")["devices"]
    named = {"device": peak[PHONE], "cloud": peak[GPU]}
    places = {"extract": "device", "generate": "cloud", "on-cloud": "cloud", "on-device": "device"}
    if metric == "counted":
        each = {step: 2 * found["macs"][step] / (named[place] * 1e9) for step, place in places.items()}
    else:
        pace = {p: found["gflops"][p] / named[p] if metric == "seconds" else 1.0 for p in named}
        each = {step: found["seconds"][step] * pace[place] for step, place in places.items()}
    return {OURS: each["extract"] + each["generate"], "on-cloud": each["on-cloud"], "on-device": each["on-device"]}


def communication(job: Job) -> Result:
    """Figure 7: the network of one update over 4G; Forward-OFA's blocks against the whole network."""
    mbit_s = float(paper.read("table8")["devices"]["network_mbit_s"])
    known = paper.quality("table1").set_index(["backbone", "dataset", "metric", "method"])["paper"]
    waits: list[tuple[str, str, float, float]] = []
    for backbone in job.options.backbones:
        found, run = measured(job, backbone), job.runs.play(backbone, OURS)
        mine = run.sessions[run.sessions["method"] == OURS]
        asked = mine[mine["requested"]]
        sent, whole = float(mine["param_bits"].mean()), float(found["counts"]["backbone"]["bits"])
        messages = float((asked["bits_down"] + asked["bits_up"]).mean())
        for method, source, bits, message in ((OURS, OURS, sent, messages), ("regular", "devicerec", whole, math.nan)):
            theirs = known.get((backbone, job.options.dataset, "param", source), math.nan) / mbit_s
            job.add(backbone, method, "communication", bits / mbit_s / 1e6, run, paper=theirs)
            job.add(backbone, method, "message", message / mbit_s / 1e6, run)
        travel = {OURS: sent / mbit_s / 1e6, "on-cloud": whole / mbit_s / 1e6, "on-device": 0.0}
        waits += [(backbone, way, seconds, travel[way]) for way, seconds in ways(found, "seconds").items()]
    frame = pd.DataFrame(waits, columns=["backbone", "method", "adapt", "travel"])
    what = (
        f"At {mbit_s:g} Mbit/s. The first columns count weights as Table 1 does; whole messages hold the path and the "
        "latent interest too. The whole network is what a regular strategy sends."
    )
    groups, title = [["communication", "message"]], "Communication time of a model update"
    return job.result(groups, lambda _, sheet: _stacked(frame, sheet), [what, *facts(job)], title)


def _bars(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """The paper's seconds and ours, logarithmic."""

    def draw(part: pd.DataFrame, axis: Axes) -> None:
        for place, (column, colour) in enumerate((("paper", style.LIGHT.grid), ("ours", style.LIGHT.muted))):
            at = [i + 0.38 * (place - 0.5) for i in range(len(part))]
            drawn = axis.barh(at, part[column], 0.36, color=colour, label=column)
            axis.bar_label(drawn, [f"{x:.2g} s" for x in part[column]], padding=2, fontsize=6.5)
        axis.set_xscale("log")
        axis.margins(x=0.3)

    shown = cells[(cells["metric"] == "seconds") & cells["method"].isin(WAYS)]
    return _by_backbone(shown, sheet, draw, "seconds, on the paper's devices")


def _stacked(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """How long a device waits: adapting, then the network's way."""

    def draw(part: pd.DataFrame, axis: Axes) -> None:
        at, colour = range(len(part)), style.LOOKS[OURS].colour
        axis.barh(at, part["adapt"], 0.6, color=style.LIGHT.muted, label="adapting (translated)")
        axis.barh(at, part["travel"], 0.6, left=part["adapt"], color=colour, label="network over 4G")

    return _by_backbone(frame, sheet, draw, "seconds")


def _by_backbone(frame: pd.DataFrame, sheet: Sheet, draw: Any, across: str) -> Figure:
    """A panel for each backbone, a bar or two for each way."""

    def panel(part: pd.DataFrame, axis: Axes) -> None:
        draw(part, axis)
        axis.set_yticks(range(len(part)), [row_title(method) for method in part["method"]])
        axis.invert_yaxis()

    panels = [
        Panel(captions.BACKBONES[str(backbone)], partial(panel, part), across)
        for backbone, part in frame.groupby("backbone", sort=False)
    ]
    return sheet.figure(panels, height=2.2, lettered=False)
