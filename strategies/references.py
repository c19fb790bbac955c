"""Methods without a network: popularity, co-occurrence counts, and the device's own past.

They need no training and nothing of the cloud while devices play. A comparison of networks without them says little:
where counts are level with a network, the network has learnt no more than counts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import nn

from models.backbones.base import Backbone
from models.candidates import Candidates, seen_before
from models.device_part import DevicePart
from models.metrics import ndcg, ranks
from models.references import Cooccurrence, CooccurrenceByType, OwnFrequent, OwnRecent, Popular, Reference
from models.shared.plain import Footprint
from strategies.base import SessionStrategy
from strategies.expectation import Counts, Networks
from strategies.training.data import TrainingSet
from strategies.training.followers import next_item_counts
from strategies.training.learner import Learner, Recipe
from strategies.training.loop import popularity_ranks
from strategies.wave import SessionResult

POWERS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Powers of the popularity by which columns are divided; validation chooses one."""
RECENT_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""The last part of the training interactions, in order of time, that may count as recent; validation chooses one."""
BATCH = 256


def popularity(counts: np.ndarray) -> torch.Tensor:
    """Counts ``(num_items,)`` as scores between 0 and 1 that all differ; of equals the lower item id is ahead."""
    order = np.argsort(-counts, kind="stable")
    scores = np.empty(len(counts), dtype=np.float32)
    scores[order] = 1 - (np.arange(len(counts)) + 1) / (len(counts) + 1)
    return torch.from_numpy(scores)


def count(items: np.ndarray, num_items: int) -> np.ndarray:
    """How often each item occurs, ``(num_items,)``."""
    return np.bincount(items, minlength=num_items + 1)[1:]


@dataclass(frozen=True)
class Fitted:
    """A reference, and its quality on the validation items."""

    reference: Reference
    valid_ndcg: float
    chosen: dict[str, float]
    """What validation chose, by name."""


Fit = Callable[[TrainingSet, Candidates], Fitted]
"""Counts the histories and chooses by the validation items, of which these may be candidates."""


def validated(reference: Reference, data: TrainingSet, candidates: Candidates) -> float:
    """NDCG@10 of the validation items among the candidates; 0 without one that is a candidate."""
    pasts = [data.items[a:b] for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    past = seen_before(pasts, np.array([len(one) for one in pasts]))
    types = None if data.validation_types is None else torch.from_numpy(data.validation_types.astype(np.int64))
    repeated = np.array([item in one for item, one in zip(data.validation, pasts, strict=True)])
    users = np.flatnonzero(~repeated) if candidates == "unseen" else np.arange(len(pasts))
    total = 0.0
    for start in range(0, len(users), BATCH):
        rows = torch.from_numpy(users[start : start + BATCH])
        scores = reference.scores(past[rows], None if types is None else types[rows])
        if candidates == "unseen":
            past[rows].exclude(scores)
        total += float(ndcg(ranks(scores, torch.from_numpy(data.validation)[rows].long())).sum())
    return total / max(len(users), 1)


def fit_popular(data: TrainingSet, candidates: Candidates) -> Fitted:
    """Order items by their count in the histories."""
    found = Popular(data.num_items)
    found.popular.copy_(popularity(count(data.items, data.num_items)))
    return Fitted(found, validated(found, data, candidates), {})


def fit_recent_popular(data: TrainingSet, candidates: Candidates) -> Fitted:
    """Order items by their count in the last part of the histories' time, of which validation chooses the length."""
    order = np.argsort(data.times, kind="stable")
    best: Fitted | None = None
    for share in RECENT_SHARES:
        last = order[len(order) - max(1, round(share * len(order))) :]
        # All interactions decide between items that are equal in the last part.
        counts = count(data.items[last], data.num_items) + count(data.items, data.num_items) / (len(order) + 1)
        found = Popular(data.num_items)
        found.popular.copy_(popularity(counts))
        quality = validated(found, data, candidates)
        if best is None or quality > best.valid_ndcg:
            best = Fitted(found, quality, {"recent_share": share})
    assert best is not None
    return best


def fit_own(kind: type[OwnRecent], data: TrainingSet, candidates: Candidates) -> Fitted:
    """Give the popularity of items to a device that else ranks by its own past."""
    found = kind(data.num_items)
    found.popular.copy_(popularity(count(data.items, data.num_items)))
    return Fitted(found, validated(found, data, candidates), {})


def fit_cooccurrence(data: TrainingSet, candidates: Candidates) -> Fitted:
    """Count pairs, divide rows by the root of their sum and columns by a power of their popularity."""
    often = count(data.items, data.num_items)
    found = _best_power(Cooccurrence, next_item_counts(data), often[None], data, candidates)
    found.reference.popular.copy_(popularity(np.maximum(often, 1)))
    return found


def fit_cooccurrence_by_type(data: TrainingSet, candidates: Candidates) -> Fitted:
    """The same for the users of each type alone; one power for all types."""
    assert data.types is not None
    tables = [_of_type(data, kind) for kind in range(1, data.num_types + 1)]
    counts = sparse.vstack([next_item_counts(one) for one in tables]).tocsr()
    often = np.stack([count(one.items, data.num_items) for one in tables])
    found = _best_power(CooccurrenceByType, counts, often, data, candidates)
    found.reference.popular.copy_(popularity(often.sum(axis=0)))
    return found


def _of_type(data: TrainingSet, kind: int) -> TrainingSet:
    """The part of the histories in which their users are of one type."""
    assert data.types is not None
    mine = data.types == kind
    offsets = np.concatenate(([0], np.cumsum(mine)))[data.offsets]
    return replace(data, offsets=offsets, items=data.items[mine])


def _best_power(
    table: type[Cooccurrence], counts: sparse.csr_matrix, often: np.ndarray, data: TrainingSet, candidates: Candidates
) -> Fitted:
    """A table of ``counts`` ``(rows, num_items)``: each row divided by the root of its sum, each column by a power of
    its item's popularity ``often`` ``(rows / num_items, num_items)``, which validation chooses."""
    sums = np.asarray(counts.sum(axis=1)).ravel()
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    values = counts.data / np.sqrt(sums[rows])
    divisors = np.maximum(often, 1).astype(np.float64)[rows // data.num_items, counts.indices]
    best: Fitted | None = None
    for power in POWERS:
        found = table.of_size(data.num_items, len(values), counts.shape[0])
        found.offsets.copy_(torch.from_numpy(counts.indptr))
        found.columns.copy_(torch.from_numpy(counts.indices))
        found.values.copy_(torch.from_numpy((values / divisors**power).astype(np.float32)))
        quality = validated(found, data, candidates)
        if best is None or quality > best.valid_ndcg:
            best = Fitted(found, quality, {"popularity_power": power})
    assert best is not None
    return best


class ReferenceModel(nn.Module):
    """What is installed on devices: a reference, and the part that all methods share."""

    def __init__(self, backbone: Backbone, reference: Reference) -> None:
        super().__init__()
        self.device_part = DevicePart(backbone, controller=False, interest=False)
        self.reference = reference


class ReferenceLearner(Learner):
    """Counts the histories; no epoch, no gradient."""

    counts: ClassVar[bool] = True

    def __init__(self, fit: Fit) -> None:
        self.fit = fit

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return ReferenceModel(backbone, Popular(backbone.num_items))

    def count(self, model: nn.Module, data: TrainingSet, recipe: Recipe) -> dict[str, float]:
        assert isinstance(model, ReferenceModel)
        fitted = self.fit(data, recipe.candidates)
        model.reference = fitted.reference
        model.device_part.popularity.copy_(popularity_ranks(data))
        return {**fitted.chosen, "valid_ndcg@10": fitted.valid_ndcg}


class InstalledTable(Networks):
    """What a reference takes: no block, its own table, and at most the rows of the items that it reads."""

    def _takes(self, path: int) -> tuple[Footprint, Footprint]:
        reference = self.installed.reference
        assert reference is not None
        most = reference.most_macs
        table = 32 * reference.weights
        return Footprint(0, 0, 0, chosen=table), Footprint(most, most, 0, chosen=table)


class ReferenceStrategy(SessionStrategy):
    """A method that ranks without a network."""

    evaluate_action: ClassVar[str] = "evaluate.reference"
    networks_type: ClassVar[type[Networks]] = InstalledTable
    fit: ClassVar[Fit]

    @classmethod
    def learner(cls) -> Learner:
        return ReferenceLearner(cls.fit)

    def paths(self, result: SessionResult) -> Counts:
        """No block runs."""
        return (0,)


def reference(name: str, title: str, note: str, fit: Fit, oracle: bool = False) -> type[ReferenceStrategy]:
    """Make the method ``name``, which installs what ``fit`` counts; ``title`` and ``note`` stand in tables.

    The devices of an ``oracle`` are told the types of their users.
    """
    own = {
        "__module__": __name__,
        "__doc__": f"Rank by {note}.",
        "name": name,
        "title": title,
        "note": f"no network: {note}",
        "cloud_model": name,
        "fit": staticmethod(fit),
        "oracle": oracle,
    }
    return type(f"{name.title().replace('-', '')}Method", (ReferenceStrategy,), own)


PopularMethod = reference("popular", "Popular", "the items that the histories hold most often", fit_popular)
RecentPopularMethod = reference(
    "recent-popular", "Recently popular", "the most popular items of the last part of the histories", fit_recent_popular
)
CooccurrenceMethod = reference(
    "cooccurrence", "Co-occurrence", "counts of what followed what in the histories", fit_cooccurrence
)
CooccurrenceByTypeMethod = reference(
    "cooccurrence-by-type",
    "By type (oracle)",
    "an oracle, which knows the type of each user: counts of what followed what among users of that type",
    fit_cooccurrence_by_type,
    oracle=True,
)
OwnRecentMethod = reference(
    "own-recent", "Own recent", "what the device interacted with last", partial(fit_own, OwnRecent)
)
OwnFrequentMethod = reference(
    "own-frequent", "Own frequent", "what the device interacted with most often", partial(fit_own, OwnFrequent)
)
