"""Table 5, what Forward-OFA's modules add, and Table 6, the data sets."""

import json
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from analysis.reproduce import paper
from analysis.reproduce.options import PROTOCOLS, Options, short_hash
from analysis.reproduce.result import Result, fill, row_title, value
from analysis.reproduce.runs import Runs, machine
from analysis.stats import quotients, ratio
from analysis.style import Sheet
from analysis.text import plural
from core.errors import UserError


def overhead(target: str, options: Options, runs: Runs) -> Result:
    """Table 5: counted from the models themselves, by ``replay.measure``."""
    rows: list[dict[str, object]] = []
    for backbone in options.backbones:
        counts = measured(backbone, options, runs, counts_only=True)["counts"]
        ours = {
            "backbone": (counts["backbone"]["macs"], counts["backbone"]["bits"]),
            "device": (counts["device"]["macs"], counts["device"]["weights"]),
            "cloud": (counts["cloud"]["macs_of_one"], counts["cloud"]["weights"]),
        }
        printed = paper.read(target)[backbone]
        known = {
            name: (printed["flops"][i], printed["param"][i]) for i, name in enumerate(paper.read(target)["components"])
        }
        about = {"table": target, "backbone": backbone, "context": 5, "blocks": options.num_blocks(backbone)}
        for component, values in ours.items():
            for metric, mine, theirs in zip(("flops", "size"), values, known[component], strict=True):
                rows.append({**about, "method": component, "metric": metric, "paper": theirs, "ours": mine / 1e6})
        rows.append({**about, "method": "cloud-all", "metric": "flops", "ours": counts["cloud"]["macs"] / 1e6})
        said = {"sasrec": 0.012, "nextitnet": 0.005}[backbone]
        share = ratio(counts["device"]["weights"], counts["backbone"]["weights"])
        rows.append({**about, "method": "ratio", "metric": "size", "paper": said, "ours": share})
    cells = fill(rows)
    return Result(
        target,
        paper.title(target),
        cells,
        [["flops", "size"]],
        lambda sheet: bars(cells, sheet),
        [
            "Counted from the models' own layers at a context of 5 items; nothing is timed.",
            f"Command: {options.command(target)}",
        ],
    )


def statistics(target: str, options: Options, runs: Runs) -> Result:
    """Table 6: the data set as it is loaded here."""
    name = f"statistics-{options.dataset.replace('/', '-')}.csv"
    frame = pd.read_csv(runs.file(name, "sim.data.statistics", [options.dataset], "--csv"))
    known = paper.statistics(options.dataset)
    rows: list[dict[str, object]] = [
        {
            "table": target,
            "backbone": "",
            "dataset": found["name"],
            "method": found["quantity"],
            "metric": "statistics",
            "paper": None if known is None else known[i],
            "ours": found["ours"],
        }
        for i, found in enumerate(frame.to_dict("records"))
    ]
    cells = fill(rows)
    name = str(cells["dataset"].iloc[0])
    used = f"Data: {name}" + (" (another release than the paper's)" if "-2014" in name else "")
    return Result(
        target,
        paper.title(target),
        cells,
        [["statistics"]],
        lambda sheet: bars(cells, sheet),
        [used, f"Command: {options.command(target)}"],
    )


def measured(backbone: str, options: Options, runs: Runs, *, counts_only: bool = False) -> dict[str, Any]:
    """What ``replay.measure`` says of a backbone: timed on this machine under the protocol's context and memory, or
    only
    counted, with the paper's context."""
    blocks, recipe = options.num_blocks(backbone), PROTOCOLS[options.protocol]
    words = ["--backbone", backbone, "--blocks", str(blocks)]
    if counts_only:
        words.append("--counts-only")
    else:
        words += ["--context", recipe.get("context", "5"), "--memory", recipe.get("memory", "5")]
        words += ["--dataset", options.dataset, "--accelerator", options.accelerator]
    path = runs.file(f"measure-{backbone}-{blocks}-{short_hash(words)}.json", "replay.measure", words, "--out")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged: {error}; delete it and start the command again") from error
    return found


def bars(cells: pd.DataFrame, sheet: Sheet) -> Figure:
    """Ours as a share of the paper's number, for every cell that has both."""
    both = cells[cells["paper"].notna() & (cells["paper"] != 0)]
    figure, axes = sheet.panels(1, height=1.2 + 0.22 * max(len(both), 1))
    labels = [
        f"{cell['backbone']} {row_title(str(cell['method']))}{', MACs' if cell['metric'] == 'flops' else ''}".strip()
        for cell in both.to_dict("records")
    ]
    drawn = axes[0].barh(range(len(both)), quotients(both["ours"], both["paper"]), color=style.LIGHT.muted, height=0.6)
    axes[0].bar_label(
        drawn, [value(str(c["metric"]), "", float(c["ours"])) for c in both.to_dict("records")], padding=2, fontsize=6.5
    )
    axes[0].set_yticks(range(len(both)), labels)
    axes[0].invert_yaxis()
    axes[0].axvline(1, color=style.LIGHT.ink, linewidth=1)
    axes[0].set_xlabel("ours / paper's")
    axes[0].set_xlim(0, 1.6)
    return figure


def here(found: dict[str, Any]) -> str:
    """The machine of a measurement."""
    return f"Machine: {machine()}; {plural(found['threads'], 'thread')}; cloud: {found['cloud']}"
