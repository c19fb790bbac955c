"""Table 5, what Forward-OFA's modules add, and Table 6, the data sets."""

import json
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.reproduce import paper
from analysis.reproduce.options import PROTOCOLS, short_hash
from analysis.reproduce.result import Job, Result, row_title, value
from analysis.reproduce.runs import machine
from analysis.stats import quotients, ratio
from analysis.style import Panel, Sheet
from analysis.text import plural, records
from core.errors import UserError

SAID = {"sasrec": 0.012, "nextitnet": 0.005}
"""What the paper's text says of the device's modules: their share of the backbone."""


def overhead(job: Job) -> Result:
    """Table 5: counted from the models themselves, by ``replay.measure``."""
    table = paper.read(job.target)
    for backbone in job.options.backbones:
        counts = measured(job, backbone, counts_only=True)["counts"]
        whole, device, cloud = (counts[name] for name in ("backbone", "device", "cloud"))
        about: dict[str, Any] = {
            "dataset": None,
            "protocol": None,
            "context": 5,
            "blocks": job.options.num_blocks(backbone),
        }
        ours = {
            "flops": (whole["macs"], device["macs"], cloud["macs_of_one"]),
            "size": (whole["bits"], device["weights"], cloud["weights"]),
        }
        for i, component in enumerate(table["components"]):
            for metric, printed in (("flops", "flops"), ("size", "param")):
                theirs = table[backbone][printed][i]
                job.add(backbone, component, metric, ours[metric][i] / 1e6, paper=theirs, **about)
        job.add(backbone, "cloud-all", "flops", cloud["macs"] / 1e6, **about)
        share = ratio(device["weights"], whole["weights"])
        job.add(backbone, "ratio", "size", share, paper=SAID[backbone], **about)
    said = "Counted from the models' own layers at a context of 5 items; nothing is timed."
    return job.result([["flops", "size"]], bars, [said])


def statistics(job: Job) -> Result:
    """Table 6: the data set as it is loaded here."""
    dataset = job.options.dataset
    file = job.runs.file(f"statistics-{dataset.replace('/', '-')}.csv", "sim.data.statistics", [dataset], "--csv")
    found, known = records(pd.read_csv(file)), paper.statistics(dataset)
    for i, row in enumerate(found):
        theirs = None if known is None else known[i]
        about: dict[str, Any] = {"dataset": row["name"], "protocol": None, "paper": theirs}
        job.add("", row["quantity"], "statistics", row["ours"], **about)
    name = found[0]["name"]
    used = f"Data: {name}" + (" (another release than the paper's)" if "-2014" in name else "")
    return job.result([["statistics"]], bars, [used])


def measured(job: Job, backbone: str, *, counts_only: bool = False) -> dict[str, Any]:
    """What ``replay.measure`` says of a backbone: timed on this machine under the protocol's context and memory, or
    only counted, with the paper's context."""
    options = job.options
    blocks, recipe = options.num_blocks(backbone), PROTOCOLS[options.protocol]
    words = ["--backbone", backbone, "--blocks", str(blocks)]
    if counts_only:
        words.append("--counts-only")
    else:
        words += ["--context", recipe.get("context", "5"), "--memory", recipe.get("memory", "5")]
        words += ["--dataset", options.dataset, "--accelerator", options.accelerator]
    path = job.runs.file(f"measure-{backbone}-{blocks}-{short_hash(words)}.json", "replay.measure", words, "--out")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged: {error}; delete it and start the command again") from error
    return found


def bars(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """Ours as a share of the paper's number, for every cell that has both."""
    both = cells[cells["paper"].notna() & (cells["paper"] != 0)]

    def draw(axis: Axes) -> None:
        names = [
            f"{cell['backbone']} {row_title(cell['method'])}{', MACs' if cell['metric'] == 'flops' else ''}".strip()
            for cell in records(both)
        ]
        shares = quotients(both["ours"], both["paper"])
        drawn = axis.barh(range(len(both)), shares, color=style.LIGHT.muted, height=0.6)
        written = [value(cell["metric"], "", cell["ours"]) for cell in records(both)]
        axis.bar_label(drawn, written, padding=2, fontsize=6.5)
        axis.set_yticks(range(len(both)), names)
        axis.invert_yaxis()
        axis.axvline(1, color=style.LIGHT.ink, linewidth=1)
        axis.set_xlim(0, 1.6)

    return sheet.figure([Panel("", draw, "ours / paper's")], height=1.2 + 0.22 * max(len(both), 1))


def here(found: dict[str, Any]) -> str:
    """The machine of a measurement."""
    return f"Machine: {machine()}; {plural(found['threads'], 'thread')}; cloud: {found['cloud']}"
