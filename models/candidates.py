"""Candidates: which items a prediction chooses from.

With ``unseen``, an item that the device has interacted with before is no candidate, as in a service that does not
recommend what its user has already had. With ``all``, every item is.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

Candidates = Literal["unseen", "all"]
CANDIDATES: tuple[str, ...] = get_args(Candidates)


@dataclass(frozen=True)
class Seen:
    """The items that are no candidates, for each of many predictions.

    Prediction ``i`` has seen ``items[starts[i] : starts[i] + lengths[i]]``: a device's past is a prefix of its own
    sequence, so that predictions share one copy of it.
    """

    items: Tensor
    """``(M,)`` item ids from 1, the sequences one after the other."""
    starts: Tensor
    """``(...)``, of any shape: one entry a prediction."""
    lengths: Tensor
    """The same shape."""

    def __getitem__(self, which: Any) -> "Seen":
        """The entries of some predictions, as a tensor is indexed: by slices, or by a mask."""
        return Seen(self.items, self.starts[which], self.lengths[which])

    def to(self, device: torch.device) -> "Seen":
        """The same on an accelerator."""
        return Seen(self.items.to(device), self.starts.to(device), self.lengths.to(device))

    def exclude(self, scores: Tensor, value: float = float("-inf")) -> Tensor:
        """Set the ``scores`` ``(N, num_items)`` of items that are no candidates to ``value``, in place.

        Column ``i`` is item ``i + 1``; the entries here are ``(N,)``.
        """
        rows = torch.repeat_interleave(self.lengths)
        before = self.lengths.cumsum(0) - self.lengths
        places = torch.arange(len(rows), device=scores.device).add_((self.starts - before).index_select(0, rows))
        flat = rows.mul_(scores.shape[1]).sub_(1).add_(self.items.index_select(0, places))
        scores.view(-1).index_fill_(0, flat, value)
        return scores


def seen_before(sequences: list[np.ndarray], known: np.ndarray) -> Seen:
    """What ``D`` devices have seen: of device ``d`` its first ``known[d]`` items; ``known`` ``(D, ...)``."""
    items = np.concatenate([np.zeros(0, dtype=np.int64), *sequences]).astype(np.int64)
    ends = np.cumsum([len(one) for one in sequences])
    starts = (ends - [len(one) for one in sequences]).reshape(-1, *[1] * (known.ndim - 1))
    lengths = torch.from_numpy(np.ascontiguousarray(known, dtype=np.int64))
    return Seen(torch.from_numpy(items), torch.from_numpy(np.broadcast_to(starts, known.shape).copy()), lengths)


def draw_negatives(rng: np.random.Generator, count: int, num_items: int, excluded: np.ndarray) -> np.ndarray:
    """Draw ``count`` of the items 1 to ``num_items`` that are not ``excluded``, each set equally likely; all of them
    where there are no more. ``excluded`` may be in any order and name an item twice."""
    out = np.unique(excluded)
    free = num_items - len(out)
    places = rng.choice(free, count, replace=False, shuffle=False) if count < free else np.arange(free)
    # of the ids below out[j], out[j] - 1 - j are free
    found: np.ndarray = places + 1 + np.searchsorted(out - 1 - np.arange(len(out)), places, side="right")
    return found


def repeats(offsets: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Which entries of many sequences repeat an earlier entry of the same one, ``(N,)`` bool.

    Sequence ``u`` is ``items[offsets[u]:offsets[u + 1]]``.
    """
    owner = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    _, first = np.unique(owner * (int(items.max(initial=0)) + 1) + items, return_index=True)
    found = np.ones(len(items), dtype=bool)
    found[first] = False
    return found
