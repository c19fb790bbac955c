"""Several runs side by side: which of them belong together, and which devices they share.

Runs with the same options on the same data except for seeds and methods are a group. Pages and files call it a setting.
Another seed draws other users, so in a group a device is called by its user: what is paired and drawn is the user.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import captions
from analysis.run import Played, Run
from analysis.stats import ratio
from analysis.summary import compare_devices, device_sums
from core import schema
from core.errors import UserError

NOT_COMPARED = {"identity", "seed", "seeds", "methods", "out", "data_dir", "quiet", "accelerator"}
"""Options that do not make a setting another one: which draw it is, what is compared in it, where it was computed."""


@dataclass(frozen=True)
class RunGroup(Played):
    """Runs with the same options except for their seeds and methods, taken together."""

    name: str
    """A letter: A for the first, by which tables and figures call it."""
    label: str
    """The options in which it differs from the other groups."""
    runs: tuple[Run, ...]
    sessions: pd.DataFrame
    """As of a run; ``device`` is the number of the user in the data set."""

    @property
    def coverage(self) -> pd.DataFrame | None:  # type: ignore[override]
        """That of its runs, a seed and method once; None where one of them has none."""
        known = [run.coverage for run in self.runs if run.coverage is not None]
        if len(known) < len(self.runs):
            return None
        return pd.concat(known, ignore_index=True).drop_duplicates(["seed", "method"], ignore_index=True)

    @property
    def options(self) -> dict[str, Any]:
        """The options of its first run."""
        return self.runs[0].options

    @property
    def methods(self) -> list[str]:
        """The methods of its runs, in their order."""
        return list(dict.fromkeys(method for run in self.runs for method in run.methods))

    @property
    def titles(self) -> dict[str, str]:
        """What methods are called in its runs."""
        return titles(self.runs)


def group_runs(runs: Sequence[Run]) -> list[RunGroup]:
    """Put runs that differ in seeds or methods only into one group, in the order in which they come.

    Raises :class:`UserError` if two of them played the same method with the same seed and do not agree, and if the
    methods of a group have not played the same seeds: their differences would be those of trainings and of users.
    """
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(json.dumps(identity(run), sort_keys=True, default=str), []).append(run)
    words = labels([identity(members[0]) for members in together.values()])
    return [RunGroup(_name(i), words[i], tuple(members), _join(members)) for i, members in enumerate(together.values())]


def titles(some: Sequence[Run] | Sequence[RunGroup]) -> dict[str, str]:
    """What methods are called in any of these."""
    return {name: title for one in some for name, title in one.titles.items()}


def compare_groups(groups: Sequence[RunGroup]) -> pd.DataFrame:
    """Every method of every later group against the first that has it: :data:`core.schema.PAIRED`."""
    rows = []
    for method in dict.fromkeys(method for one in groups for method in one.methods):
        first, *others = (one for one in groups if method in one.methods)
        rows += [{"method": method, **pair(first, other, method)} for other in others]
    return pd.DataFrame(rows, columns=schema.names(schema.PAIRED))


def pair(first: RunGroup, second: RunGroup, method: str) -> dict[str, Any]:
    """One method in ``second`` against ``first``: :data:`core.schema.PAIRED` but the method.

    Of the seeds that both have alone, since another one trains other networks and draws other users.
    """
    seeds = sorted(set(first.seeds) & set(second.seeds))
    rows = [
        one.sessions[(one.sessions["method"] == method) & one.sessions["seed"].isin(seeds)] for one in (first, second)
    ]
    a, b = (device_sums(part).droplevel("method") for part in rows)
    common = a.index.intersection(b.index)
    if obstacle(first, second) or not a.loc[common, "events"].equals(b.loc[common, "events"]):
        common = common[:0]  # the same number does not stand for the same user and stream
    a, b = a.loc[common], b.loc[common]
    return {
        "reference": first.name,
        "setting": second.name,
        "devices": len(common),
        "seeds": len(seeds),
        "ndcg@10_reference": ratio(a["ndcg"].sum(), a["events"].sum()),
        **compare_devices(a, b),
    }


def obstacle(first: RunGroup, second: RunGroup) -> str:
    """Why devices of the two cannot be compared with each other, whatever they did; empty if they can."""
    if _data(first.runs[0]) != _data(second.runs[0]):
        return "their data are not the same"
    if first.options.get("candidates") != second.options.get("candidates"):
        return "their devices choose from other candidates"
    if not set(first.seeds) & set(second.seeds):
        return "they have no seed in common"
    return ""


def labels(identities: list[dict[str, Any]]) -> list[str]:
    """What sets each apart from the others, in words; no two have the same."""
    keys = list(dict.fromkeys(key for identity in identities for key in identity))
    apart = [key for key in keys if len({str(identity.get(key)) for identity in identities}) > 1]
    apart = [key for key in apart if key.removesuffix(" file") == key or key.removesuffix(" file") not in apart]
    found = [", ".join(_words(key, identity.get(key)) for key in apart) or "all runs" for identity in identities]
    if len(set(found)) < len(found):  # two files of one name
        found = [", ".join(f"{key} {identity.get(key)}" for key in apart) or "all runs" for identity in identities]
    again = dict.fromkeys(found, 0)
    for i, text in enumerate(found):
        again[text] += 1
        found[i] = text if again[text] == 1 else f"{text} ({again[text]})"
    return found


def identity(run: Run) -> dict[str, Any]:
    """The options, and what the files say that they name: an edited device mix is another setting."""
    contents = {f"{key} file": value for key, value in run.config.get("contents", {}).items()}
    options = {key: value for key, value in run.options.items() if key not in NOT_COMPARED}
    return options | {"delivery": delivery(options), "code_bits": None, "data": _data(run)} | contents


def _data(run: Run) -> str:
    """What the data set is: its content, where the run knows it."""
    return str(run.config.get("data", {}).get("content", run.options.get("dataset")))


def delivery(options: Mapping[str, Any]) -> str:
    """How devices came to networks that were made for them, in words."""
    how = str(options.get("delivery", "weights"))
    return f"code of {options.get('code_bits', 32)} bits" if how == "code" else how


def _name(index: int) -> str:
    """A, B, ... Z, A2, B2, ..."""
    return chr(ord("A") + index % 26) + (str(index // 26 + 1) if index >= 26 else "")


def _words(key: str, value: object) -> str:
    words = key.replace("_", " ")
    if value is None:
        return f"no {words}"
    if key in ("dataset", "backbone"):
        return (
            captions.dataset_named(str(value)) if key == "dataset" else captions.BACKBONES.get(str(value), str(value))
        )
    if key in ("devices", "blocks", "sessions"):
        return f"{value} {key}"
    return f"{words} {Path(str(value)).stem if key in ('scenario', 'drift') else value}"


def _join(members: Sequence[Run]) -> pd.DataFrame:
    """The rows of these runs, each method and seed once."""
    kept: dict[tuple[str, int], tuple[Run, pd.DataFrame]] = {}
    for run in members:
        for key in itertools.product(run.methods, run.seeds):
            rows = run.sessions[(run.sessions["method"] == key[0]) & (run.sessions["seed"] == key[1])]
            first, known = kept.setdefault(key, (run, rows))
            if not known[_FACTS].reset_index(drop=True).equals(rows[_FACTS].reset_index(drop=True)):
                raise UserError(
                    f"{first.path} and {run.path} both hold {key[0]} with seed {key[1]} under the same options, "
                    "but not the same rows; compare one of them only"
                )
    played: dict[str, set[int]] = {}
    for method, seed in kept:
        played.setdefault(method, set()).add(seed)
    every = sorted(set().union(*played.values()))
    for method, seeds in played.items():
        if missing := [str(seed) for seed in every if seed not in seeds]:
            raise UserError(
                f"{', '.join(str(run.path) for run in members)} are one setting, but {method} was not played with seed "
                f"{', '.join(missing)}, as other methods were; play it with it, too, or compare runs of the same seeds"
            )
    rows = pd.concat([rows for _, rows in kept.values()], ignore_index=True)
    return rows.assign(device=rows["user"])


_FACTS = ["device", "session", "events", "hits", "ndcg", "path", "served"]
