"""How much of the secret is in scores of items: recall, membership, the next item; sums for each device.

For a request of a device the secret are the items of its live stream before the request that its history, which the
cloud knows, does not hold. The attacker ranks all items that are not in the history.

=====================  ============================================================================================
measure                what it is
=====================  ============================================================================================
``recall@k``           of the secret items among the k latest live interactions before a request, the share that
                       is in the attacker's list of k; k is 1, 10, 50; mean over requests with such an item
``membership``         AUC of the secret items (all live interactions so far) against all others, at the last
                       request of each device
``membership_matched``  the same against the 20 others nearest in popularity to each secret item
``hit@10, ndcg@10``    of the first item of the session that follows, at every request where it is a candidate
=====================  ============================================================================================
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from models.metrics import CUTOFF, hits, ndcg, ranks
from replay.privacy.attacker import LAST
from replay.privacy.knowledge import Observed

RECALL = tuple(f"recall@{k}" for k in LAST)
MEMBERSHIP, MATCHED, HIT, NDCG = "membership", "membership_matched", "hit@10", "ndcg@10"
ITEMS = (*RECALL, MEMBERSHIP, MATCHED, HIT, NDCG)
"""The measures of items."""
NEAREST = 20
"""Items of about the same popularity that each secret item is ranked against."""
WIDE = LAST.index(50)
"""The head that membership is told from."""

Sums = dict[str, tuple[np.ndarray, np.ndarray]]
"""By measure: of each device ``(D,)`` the sum over its requests, and how many they are."""


def leaks(observed: Observed, scored: Iterable[tuple[np.ndarray, Tensor]], popular: np.ndarray) -> Sums:
    """All measures of items from the scores ``(n, 4, I)`` of requests, as :func:`replay.privacy.attacker.scores` gives
    them; ``popular`` ``(I,)`` are counts."""
    devices = len(observed.known)
    sums = {name: (np.zeros(devices), np.zeros(devices)) for name in ITEMS}
    last = set(observed.last.tolist())

    def add(name: str, row: int, value: float) -> None:
        """Count a request of its device."""
        sums[name][0][observed.owner[row]] += value
        sums[name][1][observed.owner[row]] += 1

    for rows, scores in scored:
        for head, most in enumerate(LAST):
            lists = scores[:, head].topk(min(most, scores.shape[2])).indices.numpy() + 1
            for row, listed in zip(rows.tolist(), lists, strict=True):
                if len(secret := observed.secret(row, most)):
                    add(RECALL[head], row, np.isin(secret, listed).mean())
        wanted = torch.from_numpy(observed.following[rows])
        rank = ranks(scores[:, -1], wanted.clamp(min=1))
        for row, item, hit, gain in zip(
            rows.tolist(), wanted.tolist(), hits(rank, CUTOFF).tolist(), ndcg(rank, CUTOFF).tolist(), strict=True
        ):
            if item:
                add(HIT, row, hit)
                add(NDCG, row, gain)
        for place, row in enumerate(rows.tolist()):
            if row in last and len(secret := observed.secret(row)):
                others = np.setdiff1d(np.arange(1, observed.num_items + 1), observed.known[observed.owner[row]])
                others = np.setdiff1d(others, secret)
                if len(others):
                    score = scores[place, WIDE].numpy()
                    add(MEMBERSHIP, row, auc(score[secret - 1], score[others - 1]))
                    add(MATCHED, row, matched_auc(score, secret, others, popular))
    return sums


def auc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The share of pairs in which the score ``inside`` is the higher one; equal ones count half."""
    place = rankdata(np.concatenate([inside, outside]))
    return float((place[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def matched_auc(score: np.ndarray, secret: np.ndarray, others: np.ndarray, popular: np.ndarray) -> float:
    """The same of each ``secret`` item against the :data:`NEAREST` of the ``others`` in popularity, the mean.

    Items are ids from 1, ``score`` and ``popular`` ``(I,)``.
    """
    # Of equally popular ones neither the lower nor the higher id is nearer: an order that depends on nothing.
    order = np.lexsort((others * 2654435761 % 2**32, popular[others - 1]))
    others = others[order]
    middle = np.searchsorted(popular[others - 1], popular[secret - 1])
    first = np.clip(middle - NEAREST // 2, 0, max(len(others) - NEAREST, 0))
    near = others[np.minimum(first[:, None] + np.arange(min(NEAREST, len(others))), len(others) - 1)]
    mine, theirs = score[secret - 1][:, None], score[near - 1]
    return float(((mine > theirs) + 0.5 * (mine == theirs)).mean())


def by_popularity(observed: Observed, popular: np.ndarray) -> Iterable[tuple[np.ndarray, Tensor]]:
    """Scores of an attacker that guesses the most popular items."""
    ranking = torch.from_numpy(-rankdata(-popular.astype(np.float64), method="ordinal"))
    return _same(observed, lambda owners: ranking.float().repeat(len(owners), 1))


def by_counts(observed: Observed) -> Iterable[tuple[np.ndarray, Tensor]]:
    """Scores of an attacker that guesses what co-occurs with the known history."""
    return _same(observed, lambda owners: torch.from_numpy(observed.prior[owners]))


def by_items(
    observed: Observed, popular: np.ndarray, following: Callable[[np.ndarray], Tensor]
) -> Iterable[tuple[np.ndarray, Tensor]]:
    """Scores of a cloud that gets the items themselves: the latest is first; ``following`` scores ``(n, I)`` the next
    item of some requests."""
    for rows, guessed in by_popularity(observed, popular):
        scores = guessed.numpy().copy()
        for place, row in enumerate(rows.tolist()):
            live = observed.live[row]
            scores[place, :, live - 1] = 1.0 + np.arange(len(live))[:, None]  # of a repeated one the latest place
        found = torch.from_numpy(scores)
        found[:, -1] = following(rows)
        yield rows, found.masked_fill(observed.seen(observed.owner[rows]).unsqueeze(1), -torch.inf)


def _same(observed: Observed, score: Callable[[np.ndarray], Tensor]) -> Iterable[tuple[np.ndarray, Tensor]]:
    for start in range(0, len(observed.owner), 256):
        rows = np.arange(start, min(start + 256, len(observed.owner)))
        owners = observed.owner[rows]
        found = score(owners).masked_fill(observed.seen(owners), -torch.inf)
        yield rows, found.unsqueeze(1).expand(-1, len(LAST) + 1, -1)
