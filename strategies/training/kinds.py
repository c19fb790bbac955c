"""Kinds of users, found in the histories: what teaches the extractors of :mod:`strategies.kinds`.

A mixture of first-order Markov chains, fitted by expectation-maximisation. A user belongs to one of a few kinds; each
kind has its own shares of the items and its own shares of what follows each item, both drawn towards everybody's. No
label is used. A user's own history never speaks for the kind that the user is put into: the evidence leaves it out, or
each user would keep the kind that chance gave at first. By the same evidence kinds are compared with users who are all
alike; where they explain the histories no better, there are none.
"""

import numpy as np

from core.seeds import numpy_generator
from strategies.training.data import TrainingSet

TRIED = (4, 8)
"""How many there may be; 8 are looked for where there are 4, and taken if they explain clearly more."""
KINDS = max(TRIED)
"""How many can be told."""
ROUNDS = 40
"""Of expectation and maximisation; in the first half the evidence counts by degrees, from almost nothing to all."""
FOLLOWING, ITEMS = 3.0, 0.3
"""How many observations the prior of an item's followers is worth, and, for each item of the catalogue, that of the
shares of the items."""
CLEAR = 0.05
"""How much better, in nats an item, kinds must explain the histories than users who are all alike: on MovieLens-1M
they explain 0.01 more, on the generated data 0.3 to 0.4."""


def kinds_of_users(data: TrainingSet, seed: int) -> np.ndarray | None:
    """Give each user's probabilities of the kinds, ``(U, KINDS)`` float32; None if the histories show no kinds.

    They are equal for a user without a history.
    """
    users = len(data.offsets) - 1
    if data.targets == 0:
        return None
    chains, found = _Chains(data), None
    best = chains.alike
    for kinds in TRIED:
        chances = numpy_generator(seed, "kinds", kinds).dirichlet(np.ones(kinds), size=users)
        for round in range(ROUNDS):
            evidence = chains.evidence(chances)
            chances = _probabilities(evidence * min(1.0, 2 * (round + 1) / ROUNDS))
        several = np.logaddexp.reduce(chains.evidence(chances), axis=1).sum() - users * np.log(kinds)
        if several - best < CLEAR * data.targets:
            break
        best, found = several, np.pad(chances, ((0, 0), (0, KINDS - kinds))).astype(np.float32)
    return found


class _Chains:
    """The histories as pairs of an item and its follower, and how probable each kind makes them."""

    def __init__(self, data: TrainingSet) -> None:
        self.users, self.lengths = len(data.offsets) - 1, np.diff(data.offsets)
        self.owner, self.items = np.repeat(np.arange(self.users), self.lengths), data.items.astype(np.int64)
        self.size, self.prior = data.num_items + 1, ITEMS * data.num_items
        inner = np.ones(len(self.items), dtype=bool)
        inner[data.offsets[:-1][self.lengths > 0]] = False  # a first item follows nothing
        self.last, self.next, self.of = self.items[np.flatnonzero(inner) - 1], self.items[inner], self.owner[inner]
        _, self.pair = np.unique(self.last * self.size + self.next, return_inverse=True)
        popularity = np.bincount(self.items, minlength=self.size) + 0.5
        self.popularity = (popularity / popularity.sum())[self.next]
        self.own_next = _own(self.owner, self.items)[inner]
        self.own_pair, self.own_last = _own(self.of, self.pair), _own(self.of, self.last)
        self.everybody = (np.bincount(self.pair)[self.pair] - self.own_pair + FOLLOWING * self.popularity) / (
            np.bincount(self.last)[self.last] - self.own_last + FOLLOWING
        )

    @property
    def alike(self) -> float:
        """How probable the histories are if all users are alike, in nats, each user's counted from the others."""
        return float(np.log(self.everybody).sum())

    def evidence(self, chances: np.ndarray) -> np.ndarray:
        """How probable each kind makes each user's history, ``(U, kinds)``, in nats, counted from the other users.

        ``chances`` ``(U, kinds)`` are the users' probabilities of the kinds.
        """
        out = np.empty(chances.shape)
        for kind, share in enumerate(chances.T):
            mine = share[self.of]
            among = np.bincount(self.items, share[self.owner], self.size)
            liked = (among[self.next] - mine * self.own_next + self.prior * self.popularity) / (
                (among.sum() - (share * self.lengths)[self.of] + self.prior) * self.popularity
            )
            follows = (
                np.bincount(self.pair, mine)[self.pair] - mine * self.own_pair + FOLLOWING * self.everybody * liked
            )
            follows /= np.bincount(self.last, mine)[self.last] - mine * self.own_last + FOLLOWING
            out[:, kind] = np.bincount(self.of, np.log(np.maximum(follows, 1e-12)), self.users)
        return out


def _probabilities(evidence: np.ndarray) -> np.ndarray:
    out = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def _own(owner: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """How often each row's owner has that row's id."""
    _, which, often = np.unique(owner * (ids.max() + 1) + ids, return_inverse=True, return_counts=True)
    return np.asarray(often[which])
