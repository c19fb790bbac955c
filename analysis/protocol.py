"""The protocol behind a run's numbers, in words: a number without it says nothing."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from analysis.names import number

if TYPE_CHECKING:
    from analysis.loading import Run

DATASETS = {
    "synthetic": "Synthetic data",
    "synthetic-stationary": "Synthetic data without changes",
    "ml1m": "MovieLens-1M",
    "ml10m": "MovieLens-10M",
    **{
        f"amazon-{short}{release}": f"Amazon {short.title()}{words}"
        for short in ("game", "food")
        for release, words in (
            ("", ""),
            ("-2014", " (2014 release)"),
            ("-2014-5core", " (2014 release, users and items with 5 or more)"),
        )
    },
}
BACKBONES = {"sasrec": "SASRec", "nextitnet": "NextItNet"}

_SPLITS = {
    "stream": "the last 20 % of each device's interactions, played live in order of time; the item before "
    "them is for validation, what is older the cloud trains on",
    "time": "one instant for all users: what lies before it the cloud trains on (each user's last item before it is for "
    "validation), what comes after it is played live in order of time",
    "paper": "leave-one-out: each device's last item; the item before it is for validation, what is older "
    "the cloud trains on",
}
_SHORT_SPLITS = {
    "stream": "last 20 % of each device, live",
    "time": "one instant, after 80 % of all interactions",
    "paper": "leave-one-out (last item of each device)",
}
_NOT_FLAGS = {"identity", "quiet", "out", "data_dir", "accelerator", "tensorboard"}


def dataset_title(run: Run) -> str:
    """The name for readers of the data that were found, which may be another release than the one asked for."""
    asked = str(run.options.get("dataset", "unknown data set"))
    found = str(run.config.get("data", {}).get("name", asked))
    return dataset_named(found if found in DATASETS else asked)


def dataset_named(name: str) -> str:
    """The same of a name or a path."""
    return DATASETS.get(name, name.replace("\\", "/").rsplit("/", 1)[-1])


def backbone_title(options: dict[str, Any]) -> str:
    """``SASRec, 6 blocks``."""
    name = str(options.get("backbone", "unknown backbone"))
    blocks = options.get("blocks", "?")
    return f"{BACKBONES.get(name, name)}, {blocks} block{'' if blocks == 1 else 's'}"


def split(options: dict[str, Any], short: bool = False) -> str:
    """What is predicted, from what."""
    name = str(options.get("protocol", "unknown"))
    if options.get("split") == "time":
        name = "time"
    return (_SHORT_SPLITS if short else _SPLITS).get(name, f"protocol '{name}'")


def candidates(run: Run) -> str:
    """Among how many items the right one is looked for."""
    items = run.config.get("data", {}).get("items")
    return f"all {int(items):,} items" if items else "all items"


def sizes(run: Run) -> dict[str, int]:
    """Seeds, devices, and the device-sessions and events of one method, over all seeds (at most)."""
    return {
        "seeds": len(run.seeds),
        "devices": int(run.summary["devices"].max()),
        "sessions": int(run.summary["sessions"].max()),
        "events": int(run.summary["events"].max()),
    }


def played(run: Run) -> str:
    """``1,000 devices, 5,000 device-sessions, 48,120 events, seeds 0, 1 and 2``."""
    count = sizes(run)
    seeds = ", ".join(str(seed) for seed in run.seeds)
    return (
        f"{plural(count['devices'], 'device')}, {plural(count['sessions'], 'device-session')} and "
        f"{plural(count['events'], 'event')} per method, "
        + (f"seed {seeds}" if count["seeds"] == 1 else f"together over seeds {seeds}")
    )


def caption(run: Run) -> str:
    """The protocol in one sentence, for below a table."""
    memory = f" (to adapt: {run.options['memory']})" if "memory" in run.options else ""
    return (
        f"{dataset_title(run)}, {backbone_title(run.options)}, "
        f"context {run.options.get('context', '?')}{memory}; "
        f"split: {split(run.options, short=True)}{_of_the_split(run)}; candidates: {candidates(run)}; cut-off 10; {played(run)}."
    )


def _of_the_split(run: Run) -> str:
    """What of the training lies later than what is played, or who could be played, as far as the run recorded it."""
    facts = run.config.get("data_facts", {})
    if facts.get("split") == "time":
        return (
            f" ({facts['split_day']}; {facts['users_qualifying']:,} of {facts['users']:,} users qualify, "
            f"{facts['users_without_history']:,} have fewer than {facts['interactions_needed']} interactions before it, "
            f"{facts['users_without_future']:,} others none after it)"
        )
    if "training_share_later" in facts:
        return f" ({100 * float(facts['training_share_later']):.1f} % of the training lies later than what is predicted)"
    return ""


def command(options: dict[str, Any]) -> str:
    """The command line that plays the run again; paths of this machine are left out."""
    words = ["python", "-m", "sim.run"]
    for key, value in options.items():
        if key in _NOT_FLAGS or value is None or value == "":
            continue
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words += [flag] if value else []  # a flag that is not given is off
        elif isinstance(value, list):
            words += [flag, ",".join(str(item) for item in value)]
        else:
            words += [flag, str(value)]
    return " ".join(shlex.quote(word) for word in words)


def data_line(run: Run) -> str:
    """Sizes of the data set, as far as the run recorded them."""
    data = run.config.get("data", {})
    parts = [f"{int(data[key]):,} {key}" for key in ("users", "items", "interactions") if key in data]
    if "mean_length" in data:
        parts.append(f"{number(float(data['mean_length']))} interactions a user")
    return ", ".join(parts)


def plural(count: int, noun: str) -> str:
    """``1 device``, ``1,000 devices``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
