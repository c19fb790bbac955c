"""What the data say, as the run found when it loaded them: the table ``data_facts`` of ``config.toml``.

A scalar is a fact, whose name is its key unless :data:`NAMES` has another; the lists of sentences ``notes`` and
``warnings`` are shown as text.
"""

import math
from collections.abc import Mapping

from analysis.page import Section
from analysis.run import Run
from analysis.text import number, percent

TITLE = "What the data say"
READING = (
    "Counted when the data set was loaded, before anything was trained. A table of methods means little where the data "
    "leave them little to choose."
)
TEXTS = ("notes", "warnings")
NAMES = {
    "users_left_out": "Users left out, who do not qualify as devices",
    "users_qualifying": "Users that qualify as devices",
    "interactions_needed": "Interactions that a device needs",
    "split_day": "Day of the instant that divides training and play",
    "training_share_later": "Share of the training that lies later in time than what it helps to predict",
    "share_cold_live": "Share of live events with an item that no history holds",
    "share_repeats": "Share of live interactions that repeat the device's own past",
    "share_duplicates": "Share of exact duplicates",
    "share_tied": "Share of rows with the time of another row of their user",
    "ties": "Order of such rows (--ties)",
}
"""Where the key alone would say too little."""


def section(run: Run) -> Section | None:
    """The facts, their notes, and their warnings; None if the run has none."""
    found = run.config.get("data_facts", {})
    facts = [(_named(key), _written(key, value)) for key, value in found.items() if key not in TEXTS and value != ""]
    facts += [("Warning", text) for text in warnings(run)]
    return Section("data_facts", TITLE, READING, " ".join(found.get("notes", [])), facts=facts) if found else None


def warnings(run: Run) -> list[str]:
    """What the data warn of; none if the run has no such table."""
    return list(run.config.get("data_facts", {}).get("warnings", []))


def _named(key: str) -> str:
    """``share_unseen_items`` is ``Share of unseen items``."""
    if key in NAMES:
        return NAMES[key]
    words = key.replace("_", " ").strip()
    words = f"share of {words.removeprefix('share ')}" if words.startswith("share ") else words
    return words[:1].upper() + words[1:]


def _written(key: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_written(key, one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_written(key, one)}" for name, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isinf(value):
        return "without limit"
    if isinstance(value, float):
        return percent(value) if "share" in key.split("_") else number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
