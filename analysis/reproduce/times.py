"""Table 8, how long a device waits for a network that fits it, and Figure 7, how long the network travels.

Measured on this machine and translated as the paper does it: seconds times our GFLOPS (of a matrix product) divided by
the GFLOPS of the device that the paper names. "Counted" is what nobody can be faster than: the operations divided by
the peak.
"""

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import captions, style
from analysis.reproduce import paper
from analysis.reproduce.modules import here, measured
from analysis.reproduce.options import OURS, Options
from analysis.reproduce.quality import facts, identity, played
from analysis.reproduce.result import Result, fill, row_title
from analysis.reproduce.runs import Runs
from analysis.stats import ratio
from analysis.style import Sheet

GPU, PHONE = "RTX 3090", "iPhone 16"


def adaptation(target: str, options: Options, runs: Runs) -> Result:
    """Table 8: Forward-OFA's adaptation, on-cloud and on-device fine-tuning, side by side."""
    rows: list[dict[str, object]] = []
    lines = []
    peak = paper.read("table8")["devices"]
    for backbone in options.backbones:
        found = measured(backbone, options, runs)
        printed = dict(zip(paper.read(target)["ways"], paper.read(target)[backbone], strict=True))
        ours = {metric: ways(found, metric) for metric in ("seconds", "here", "counted")}
        about = identity(target, backbone, options) | {name: found[name] for name in ("blocks", "context", "memory")}
        for metric, values in ours.items():
            for way, mine in values.items():
                theirs = printed[way] if metric == "seconds" else math.nan
                rows.append({**about, "method": way, "metric": metric, "paper": theirs, "ours": mine})
                if way != OURS:
                    theirs = ratio(printed[way], printed[OURS]) if metric == "seconds" else math.nan
                    rows.append(
                        {
                            **about,
                            "method": f"{way}-times",
                            "metric": metric,
                            "paper": theirs,
                            "ours": ratio(mine, values[OURS]),
                        }
                    )
        scale = peak[GPU] / peak[PHONE]
        rows.append(
            {
                **about,
                "method": "on-cloud-scaled",
                "metric": "seconds",
                "paper": printed["on-cloud"] * scale,
                "ours": ours["seconds"]["on-cloud"] * scale,
            }
        )
        lines.append(_said(backbone, found))
    order = [OURS, "on-cloud", "on-cloud-scaled", "on-device", "on-cloud-times", "on-device-times"]
    cells = fill(sorted(rows, key=lambda row: order.index(str(row["method"]))))
    cells = cells.sort_values("backbone", key=lambda names: names.map(paper.BACKBONES.index), kind="stable")
    note = (
        f"In the first columns measured seconds are translated to the paper's devices: extractors and on-device "
        f"training to the {PHONE} ({peak[PHONE]:,.1f} GFLOPS), mapper and on-cloud training to the {GPU} "
        f"({peak[GPU]:,.0f} GFLOPS). Counted: two operations a multiply-accumulate, divided by the peak. "
        "On-device: three Adam steps on the last 100 targets; on-cloud: one epoch over all of the device's items and "
        'over all parameters. "Scaled to the phone" is how the paper got its on-device seconds, with the '
        "GFLOPS it names."
    )
    return Result(
        target,
        paper.title(target),
        cells,
        [["seconds"], ["here", "counted"]],
        lambda sheet: _bars(cells, sheet),
        [*lines, note, here(found), f"Command: {options.command(target)}"],
    )


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


def communication(target: str, options: Options, runs: Runs) -> Result:
    """Figure 7: the network of one update over 4G; Forward-OFA's blocks against the whole network."""
    mbit_s = float(paper.read("table8")["devices"]["network_mbit_s"])
    known = paper.quality("table1")
    rows: list[dict[str, object]] = []
    waits: list[tuple[str, str, float, float]] = []
    for backbone in options.backbones:
        found, run = measured(backbone, options, runs), runs.play(backbone, OURS)
        mine = run.sessions[run.sessions["method"] == OURS]
        asked = mine[mine["requested"]]
        whole = found["counts"]["backbone"]["bits"]
        ours = {OURS: float(mine["param_bits"].mean()), "regular": float(whole)}
        message = {OURS: float((asked["bits_down"] + asked["bits_up"]).mean()), "regular": math.nan}
        table = known[
            (known["backbone"] == backbone) & (known["dataset"] == options.dataset) & (known["metric"] == "param")
        ]
        printed = table.set_index("method")["paper"]
        for method, source in ((OURS, OURS), ("regular", "devicerec")):
            about = {**identity(target, backbone, options), **played(run), "method": method}
            theirs = printed.get(source, math.nan) / mbit_s
            rows.append({**about, "metric": "communication", "paper": theirs, "ours": ours[method] / mbit_s / 1e6})
            rows.append({**about, "metric": "message", "ours": message[method] / mbit_s / 1e6})
        steps = ways(found, "seconds")
        waits += [
            (backbone, OURS, steps[OURS], ours[OURS] / mbit_s / 1e6),
            (backbone, "on-cloud", steps["on-cloud"], whole / mbit_s / 1e6),
            (backbone, "on-device", steps["on-device"], 0.0),
        ]
    cells, frame = fill(rows), pd.DataFrame(waits, columns=["backbone", "method", "adapt", "travel"])
    what = (
        f"At {mbit_s:g} Mbit/s. The first columns count weights as Table 1 does; whole messages hold the path and the "
        "latent interest too. The whole network is what a regular strategy sends."
    )
    return Result(
        target,
        "Communication time of a model update",
        cells,
        [["communication", "message"]],
        lambda sheet: _stacked(frame, sheet),
        [what, *facts(target, options, runs)],
    )


def _said(backbone: str, found: dict[str, Any]) -> str:
    macs = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in found["macs"].items())
    return (
        f"{backbone}: {found['items']:,} items, a device with {found['interactions']} interactions; "
        f"multiply-accumulates: {macs}; a matrix product reaches {found['gflops']['device']:,.0f} GFLOPS "
        f"on the device's side and {found['gflops']['cloud']:,.0f} in the cloud."
    )


def _bars(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """The paper's seconds and ours, logarithmic."""
    shown = cells[(cells["metric"] == "seconds") & cells["method"].isin([OURS, "on-cloud", "on-device"])]
    names = shown["backbone"].unique().tolist()
    figure, axes = sheet.panels(len(names), height=2.2)
    for axis, backbone in zip(axes, names, strict=True):
        part = shown[shown["backbone"] == backbone]
        for place, (column, colour) in enumerate((("paper", style.LIGHT.grid), ("ours", style.LIGHT.muted))):
            at = [i + 0.38 * (place - 0.5) for i in range(len(part))]
            drawn = axis.barh(at, part[column], 0.36, color=colour, label=column)
            axis.bar_label(drawn, [f"{x:.2g} s" for x in part[column]], padding=2, fontsize=6.5)
        axis.set_yticks(range(len(part)), [row_title(method) for method in part["method"]])
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlabel("seconds, on the paper's devices")
        axis.margins(x=0.3)
        axis.set_title(captions.BACKBONES[backbone], loc="left")
    sheet.legend(figure, axes[0])
    return figure


def _stacked(frame: pd.DataFrame, sheet: Sheet) -> Figure:
    """How long a device waits: adapting, then the network's way."""
    names = frame["backbone"].unique().tolist()
    figure, axes = sheet.panels(len(names), height=2.2)
    for axis, backbone in zip(axes, names, strict=True):
        part = frame[frame["backbone"] == backbone]
        axis.barh(range(len(part)), part["adapt"], 0.6, color=style.LIGHT.muted, label="adapting (translated)")
        axis.barh(
            range(len(part)),
            part["travel"],
            0.6,
            left=part["adapt"],
            color=style.LOOKS[OURS].colour,
            label="network over 4G",
        )
        axis.set_yticks(range(len(part)), [row_title(method) for method in part["method"]])
        axis.invert_yaxis()
        axis.set_xlabel("seconds")
        axis.set_title(captions.BACKBONES[backbone], loc="left")
    sheet.legend(figure, axes[0])
    return figure
