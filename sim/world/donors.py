"""Donors: for a device whose interest is to change, a user whose interests are far from its own.

A user's interest is a vector: where items have genres, the mean of its items' genre shares, otherwise the mean of their
co-occurrence vectors; in both cases minus the mean over all users, so that what everybody likes plays no part. The
distance is one minus the cosine. A donor is drawn from the most distant tenth of the users whose live stream is long
enough, so that not all devices get the same one.
"""

import numpy as np

from core.seeds import numpy_generator
from sim.data.interactions import Interactions
from sim.world.streams import build_streams, eligible_users

DISTANT = 0.1
"""Share of the candidates that count as distant."""
WIDTH = 64
"""Entries of a co-occurrence vector."""


class DonorPool:
    """The live streams of all users of a data set, by their interests."""

    def __init__(self, interactions: Interactions, seed: int, instant: int | None = None) -> None:
        """``instant`` is that of a split by time, see :func:`sim.world.streams.build_streams`."""
        streams = build_streams(interactions, eligible_users(interactions, instant=instant), instant=instant)
        self.users, self.items, self.types = streams.users, streams.items, streams.types
        self._starts = streams.offsets[:-1] + streams.live_start
        self._lengths = streams.offsets[1:] - self._starts
        self._vectors = item_vectors(interactions, seed)
        rows = np.repeat(np.arange(len(self.users)), self._lengths)
        live = np.concatenate([self.stream(donor) for donor in range(len(self.users))])
        means = np.zeros((len(self.users), self._vectors.shape[1]))
        for column in range(means.shape[1]):
            means[:, column] = np.bincount(rows, self._vectors[live, column], len(self.users)) / self._lengths
        self._centre = means.mean(axis=0)
        self.interests = _unit(means - self._centre)

    def stream(self, donor: int) -> np.ndarray:
        """The live items of candidate ``donor`` (an index into ``users``), in order."""
        start = int(self._starts[donor])
        return self.items[start : start + int(self._lengths[donor])]

    def distances(self, history: np.ndarray) -> np.ndarray:
        """Distances of the interest in ``history`` (item ids) to that of every candidate's live stream, from 0 to 2."""
        mine = _unit((self._vectors[history].mean(axis=0) - self._centre)[None])
        distance: np.ndarray = 1.0 - self.interests @ mine[0]
        return distance

    def events(self, user: int, history: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        """Where in ``items`` ``count`` consecutive live events lie of one distant user who is not ``user`` himself.

        Where nobody's live stream is that long, the next distant user goes on where one ends.
        """
        distance = self.distances(history)
        distance[self.users == user] = -np.inf
        able = np.flatnonzero((self._lengths >= count) & np.isfinite(distance))
        if not len(able):
            able = np.flatnonzero(np.isfinite(distance))
        # By distance, then by number: the same donors on every machine.
        ranked = able[np.lexsort((able, -np.round(distance[able], 9)))]
        near = max(1, round(DISTANT * len(able)))
        order = np.concatenate([random.permutation(ranked[:near]), ranked[near:]])
        needed = int(np.searchsorted(np.cumsum(self._lengths[order]), count)) + 1
        # A data set that has fewer live events in all than this device needs starts again from the first.
        spans = [np.arange(self._starts[donor], self._starts[donor] + self._lengths[donor]) for donor in order[:needed]]
        return np.resize(np.concatenate(spans), count)


def item_vectors(interactions: Interactions, seed: int) -> np.ndarray:
    """``(num_items + 1, W)``: shares over genres where the data has them, else co-occurrence.

    Items that the same users had get similar co-occurrence vectors: each is the sum, over the users who had the item,
    of that user's random signs, so that the product of two estimates how many users had both.
    """
    if interactions.genres.shape[1]:
        genres = interactions.genres.astype(float)
        shares: np.ndarray = genres / np.maximum(genres.sum(axis=1, keepdims=True), 1.0)
        return shares
    signs = numpy_generator(seed, "donors").choice([-1.0, 1.0], (interactions.num_users, WIDTH))
    user = np.repeat(np.arange(interactions.num_users), np.diff(interactions.offsets))
    size = interactions.num_items + 1
    sums = np.stack([np.bincount(interactions.items, signs[user, w], size) for w in range(WIDTH)], axis=1)
    return _unit(sums)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Each row at length 1, or 0 where it is 0."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12)
    return unit
