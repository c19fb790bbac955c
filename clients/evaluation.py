"""What the simulator measures beside the ranks among all candidates.

With the record ``evaluation`` the simulation tells a device what to measure besides; the cloud neither sends nor reads
it. Ranks among sampled candidates travel with the other measurements. What is recommended does not: item ids never
leave a device. So the devices note their recommendations on their own disks (``lists`` in the device's folder), one
file a batch of devices, and when the method has been played the simulator looks at the disks that it simulates
(:mod:`sim.coverage`). Where a device has no folder of its own, or the simulator cannot reach them all, nothing is known
of the coverage.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Message
from torch import Tensor

from clients.fields import EVALUATION_FIELDS, check, check_name
from core import atomic, sealed
from core.seeds import numpy_generator
from models.candidates import draw_negatives

EVALUATION = "evaluation"
LISTS = "lists"
"""Folder, below the device's own, of what it recommends."""


@dataclass(frozen=True)
class Evaluation:
    """What is measured besides."""

    sampled: int = 0
    """Other candidates that each item is ranked among, too; 0: none."""
    lists: str = ""
    """Name of the folder for what is recommended; empty: it is not noted."""

    def record(self) -> ConfigRecord:
        """As it travels from the simulation to the device."""
        return ConfigRecord(dict(vars(self)))

    @staticmethod
    def of(message: Message) -> "Evaluation":
        """The record that came with a message, or nothing to measure; raises :class:`clients.fields.BadMessage`."""
        if EVALUATION not in message.content:
            return Evaluation()
        evaluation = Evaluation(**check(EVALUATION, message.content[EVALUATION], EVALUATION_FIELDS))
        check_name("lists", evaluation.lists)
        return evaluation


def negatives(
    count: int,
    num_items: int,
    seed: int,
    device: int,
    session: int,
    seen: np.ndarray,
    targets: np.ndarray,
    unseen: bool,
) -> np.ndarray:
    """The sampled candidates of a session's events, ``(R, count)`` item ids; 0 fills up.

    ``seen`` holds the device's items until the end of the session, and ``targets`` ``(R,)`` what happened in it, with 0
    where there is no prediction, for which nothing is drawn. An event's candidates are all items but its own, and with
    ``unseen`` but what the device had interacted with before. They are drawn uniformly from a random stream of the
    event's own, so that every method ranks among the same.
    """
    out = np.zeros((len(targets), count), dtype=np.int64)
    for event, target in enumerate(targets.tolist()):
        if target > 0:
            rng = numpy_generator(seed, "sampled candidates", device, session, event)
            excluded = np.append(seen[: len(seen) - len(targets) + event] if unseen else seen[:0], target)
            drawn = draw_negatives(rng, count, num_items, excluded)
            out[event, : len(drawn)] = drawn
    return out


def note_lists(folder: Path, devices: list[int], sessions: list[int], lists: Tensor) -> None:
    """File which items these device-sessions recommended, ``lists`` ``(D, R, 10)`` with 0 for nothing.

    The name of the file follows from the devices and the sessions: played again, they write the same file.
    """
    whose = np.array([devices, sessions], dtype=np.int64)
    items = np.unique(lists.numpy())
    arrays = {"devices": whose[0], "sessions": whose[1], "items": items[items > 0].astype(np.int32)}
    name = hashlib.sha256(whose.tobytes()).hexdigest()[:24]
    content = sealed.pack_tensors(arrays, {"kind": "recommended items", "of": folder.name})
    atomic.write(folder / f"{name}.safetensors", content, durable=False)
