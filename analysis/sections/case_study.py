"""The case study of a run, if `python -m replay.case_study RUN` has made one: what a few devices would rank first, and
why.

The paper's Figure 6 in words: four devices just before their first live session, each with its own network and with
networks that do not fit it. The file's format is described in :mod:`replay.case_study`.
"""

import json
from typing import Any

from analysis.page import Section
from analysis.run import Run
from analysis.tables import Cell, Column, Table, build
from analysis.text import join, number, quality
from core.errors import UserError

FILE = "casestudy.json"
TITLE = "Case study: whose network fits"
NETWORKS = {"own": "Its own", "all-blocks": "All blocks", "other": "Another device's"}
READING = (
    "A device at the start of its first live session, with the network that the cloud makes for it; with all blocks of "
    "that network; with DeviceRec's, which is the same for all; and with the one made for the device whose latent "
    "interest points away most. ● what the user did next; the devices were chosen by their paths alone. This is the "
    "simulator's own view: no device tells anybody its items."
)


def section(run: Run) -> Section | None:
    """The section of a report; None if the run has no case study.

    Raises :class:`UserError` if its file is damaged.
    """
    file = run.path / FILE
    if not file.is_file():
        return None
    try:
        study = json.loads(file.read_text(encoding="utf-8"))
        tables = [_everyone(run, study), *(_device(run, one, study["blocks"]) for one in study["devices"])]
        return Section("case_study", TITLE, READING, _finding(run, study), tables=tables)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        again = "python -m replay.case_study"
        raise UserError(f"{file} is damaged ({error!r}); delete it, or make it again: {again}") from error


def _finding(run: Run, study: dict[str, Any]) -> str:
    ranks = []
    for one in study["devices"]:
        own, *others = sorted(one["networks"], key=lambda network: network["network"] != "own")
        words = join([f"{_network(run, other['network'])} {other['rank']:,}" for other in others])
        ranks.append(f"device {one['device']}: {own['rank']:,} ({words})")
    return f"Place of the item that came next, of {study['candidates']:,}, with its own network: {'; '.join(ranks)}."


def _everyone(run: Run, study: dict[str, Any]) -> Table:
    columns = [
        Column("Network", "network", lambda name: _network(run, name)),
        Column("NDCG@10", "ndcg@10", quality, best=max),
        Column("Hit@10", "hit@10", quality, best=max),
        Column("Blocks", "blocks", number, "mean"),
    ]
    caption = (
        f"All {study['everyone'][0]['devices']:,} devices, the first event of their live streams, against all "
        f"{study['candidates']:,} items, cut-off 10. ● best of its column."
    )
    return build(study["everyone"], columns, caption)


def _device(run: Run, one: dict[str, Any], blocks: int) -> Table:
    networks, following = one["networks"], one["next"]
    header, ranks = [("Place", "")], [Cell("next item is at")]
    for network in networks:
        ran = [str(k + 1) for k, used in enumerate(network["path"]) if used]
        words = f"blocks {', '.join(ran)}" if len(ran) < blocks else "all blocks"
        header.append((_network(run, network["network"]), words))
        ranks.append(Cell(f"{network['rank']:,}"))
    rows = [ranks]
    for place, listed in enumerate(zip(*(network["top"] for network in networks), strict=True), 1):
        cells = [Cell(_name(item), item["item"] == following["item"], ", ".join(item["genres"])) for item in listed]
        rows.append([Cell(str(place)), *cells])
    recently = "; ".join(_name(item) for item in reversed(one["recent"]))
    genres = f" ({', '.join(following['genres'])})" if following["genres"] else ""
    caption = (
        f"Device {one['device']}; the other device is {one['partner']}. Next: {_name(following)}{genres}. Before it, "
        f"the latest first: {recently}."
    )
    return Table(caption, header, rows, words=True)


def _network(run: Run, name: str) -> str:
    return NETWORKS.get(name, run.title(name))


def _name(item: dict[str, Any]) -> str:
    return item["title"] or f"item {item['item']}"
