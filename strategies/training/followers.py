"""What often follows an item: counts of the histories, and how training spreads a part of each target over them.

One next item says little about the many that could as well have come next. Counts know some of them, and cost a device
nothing: what is learnt from them is in the weights.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from models.kernels.softmax_loss import Spread
from strategies.training.data import TrainingSet

GAP = 30
"""Largest distance of two items in a history that counts as a co-occurrence; each counts 1/distance."""
READ = 3
"""Latest items whose followers share a target; their counts weigh 1, 1/2 and 1/3."""
KEPT = 64
"""Followers that are kept of an item, those with the highest weights."""
POPULARITY_POWER = 0.3
"""Counts are divided by this power of how often the follower occurs: everything is followed by what is popular."""
SHARPNESS = 1.5
"""Power of the counts that makes weights of them: without it the tail would get most of the target."""


def next_item_counts(data: TrainingSet) -> sparse.csr_matrix:
    """``(num_items, num_items)``: how often, and how closely, each item was followed by each other one."""
    owner = np.repeat(np.arange(len(data.offsets) - 1), np.diff(data.offsets))
    items = data.items.astype(np.int64) - 1
    rows, columns, values = [], [], []
    for gap in range(1, min(GAP, len(items) - 1) + 1):
        same = owner[gap:] == owner[:-gap]
        rows.append(items[:-gap][same])
        columns.append(items[gap:][same])
        values.append(np.full(int(same.sum()), 1 / gap, dtype=np.float32))
    shape = (data.num_items, data.num_items)
    if not rows:
        return sparse.csr_matrix(shape, dtype=np.float32)
    found = sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)
    return found.tocsr()


@dataclass(frozen=True)
class Followers:
    """The items that follow each item most often, among all users or among those of the same group."""

    items: Tensor
    """``(groups * (num_items + 1), KEPT)`` ids, best first, filled up with 0; a group begins with padding."""
    weights: Tensor
    """The same shape, at least 0."""
    share: float
    """Of each target, what is spread."""
    first_rows: Tensor | None = None
    """``(U,)``: where the rows of each user's group begin; None: there is one group."""

    @classmethod
    def of(cls, data: TrainingSet, share: float, groups: np.ndarray | None = None) -> "Followers":
        """Counted from the histories, apart for the users of each of ``groups`` ``(U,)``."""
        if groups is None:
            return cls(*_strongest(data), share)
        tables = [_strongest(_users(data, groups == group)) for group in range(groups.max() + 1)]
        items, weights = (torch.cat(parts) for parts in zip(*tables, strict=True))
        return cls(items, weights, share, torch.from_numpy(groups.astype(np.int64) * (data.num_items + 1)))

    def to(self, device: torch.device) -> "Followers":
        """The same on an accelerator."""
        first_rows = None if self.first_rows is None else self.first_rows.to(device)
        return Followers(self.items.to(device), self.weights.to(device), self.share, first_rows)

    def spread(self, windows: Tensor, bears: Tensor, users: Tensor | None = None) -> Spread:
        """Over what to spread targets at places ``bears`` ``(B, n)`` of windows ``(B, n)`` of ``users`` ``(B,)``."""
        rows, places = bears.nonzero(as_tuple=True)
        back = torch.arange(READ, device=windows.device)
        before = places[:, None] - back
        latest = torch.where(before >= 0, windows[rows[:, None], before.clamp(min=0)], 0)
        if self.first_rows is not None:
            assert users is not None
            latest = latest + self.first_rows[users[rows], None]
        ages = (1 / (back + 1.0)) ** SHARPNESS
        return Spread(self.items[latest].flatten(1), (self.weights[latest] * ages[:, None]).flatten(1), self.share)


def _strongest(data: TrainingSet) -> tuple[Tensor, Tensor]:
    """Items and weights of :class:`Followers`, of one group: row i of the counts is divided by the root of its sum."""
    counts = next_item_counts(data)
    often = np.maximum(np.bincount(data.items, minlength=data.num_items + 1)[1:], 1).astype(np.float64)
    sums = np.asarray(counts.sum(axis=1)).ravel()
    items = np.zeros((data.num_items + 1, KEPT), dtype=np.int64)
    weights = np.zeros((data.num_items + 1, KEPT), dtype=np.float32)
    for row, (first, last) in enumerate(zip(counts.indptr[:-1], counts.indptr[1:], strict=True)):
        columns = counts.indices[first:last]
        found = counts.data[first:last] / np.sqrt(sums[row]) / often[columns] ** POPULARITY_POWER
        best = np.argsort(-found, kind="stable")[:KEPT]
        items[row + 1, : len(best)] = columns[best] + 1
        weights[row + 1, : len(best)] = found[best] ** SHARPNESS
    return torch.from_numpy(items), torch.from_numpy(weights)


def _users(data: TrainingSet, some: np.ndarray) -> TrainingSet:
    """The histories of ``some`` ``(U,)`` of the users; the others' are empty."""
    lengths = np.diff(data.offsets)
    offsets = np.concatenate(([0], np.cumsum(np.where(some, lengths, 0))))
    return replace(data, offsets=offsets, items=data.items[np.repeat(some, lengths)])
