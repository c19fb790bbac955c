"""The embedded data set: its shape, its habits, and that they can be learned."""

import time

import numpy as np
import pytest

from sim.data import load
from sim.data.interactions import Interactions
from sim.data.synthetic import GENRES, Recipe, _draw, _draw_films, generate
from sim.world.streams import build_streams, eligible_users, session_phase

RING = Recipe().items_per_genre
STRIDES = [3, 9, 15, 21]  # the middles of four equal arcs of a ring of 24


@pytest.fixture(scope="module")
def data() -> Interactions:
    return load("synthetic")


def sequences(data: Interactions) -> list[np.ndarray]:
    return np.split(data.items.astype(np.int64), data.offsets[1:-1])


def strides(items: np.ndarray) -> np.ndarray:
    """Steps along the ring between neighbours of one genre, (pairs,); -1 between genres."""
    place, genre = (items - 1) % RING, (items - 1) // RING
    return np.where(np.diff(genre) == 0, np.diff(place) % RING, -1)


def most_likely_type(items: np.ndarray) -> int:
    """The type around whose stride most steps fall, within 3 films."""
    steps = strides(items)
    near = [((steps >= stride - 3) & (steps <= stride + 3)).sum() for stride in STRIDES]
    return int(np.argmax(near))


def test_shape(data: Interactions) -> None:
    lengths = np.diff(data.offsets)
    assert (data.num_users, data.num_items) == (600, 288)
    assert (lengths.min(), lengths.max()) == (60, 110)
    assert len(np.unique(data.items)) == 288
    assert data.items.min() == 1
    assert len(set(data.item_titles)) == 289
    assert data.genre_names == list(GENRES)
    assert data.genres[1:].any(axis=1).all()
    assert not data.genres[0].any()
    assert len(eligible_users(data)) == 600


def test_is_always_the_same_and_quick() -> None:
    start = time.process_time()
    first = load("synthetic")
    assert time.process_time() - start < 2
    assert first.digest() == load("synthetic").digest()
    assert first.digest() != generate(1).digest()


def test_more_users_come_after_the_first_ones_and_change_nothing_of_them(data: Interactions) -> None:
    more = load("synthetic", users=700)
    rows = len(data.items)
    assert (more.num_users, load("synthetic", users=5).num_users) == (700, 600)
    for name in ("items", "times"):
        assert np.array_equal(getattr(more, name)[:rows], getattr(data, name))
    assert np.array_equal(more.offsets[:601], data.offsets)
    assert np.array_equal(more.change_points[:600], data.change_points)
    assert more.user_ids[-1] == "user699"
    assert len({tuple(items) for items in sequences(more)}) == 700


def test_drawing_by_halving_is_drawing() -> None:
    random = np.random.default_rng(3)
    cumulative = np.cumsum(random.random((7, 288)) ** 8, axis=1)
    cumulative /= cumulative[:, -1:]
    rows = random.integers(7, size=5000)
    one, other = np.random.default_rng(4), np.random.default_rng(4)
    assert np.array_equal(_draw(one, cumulative[rows]), _draw_films(other, cumulative, rows))
    assert one.random() == other.random()


def test_times_come_in_sittings_days_apart(data: Interactions) -> None:
    pauses = np.concatenate([np.diff(part) for part in np.split(data.times, data.offsets[1:-1])])
    within = pauses < 1800
    assert pauses.min() >= 20
    assert pauses[within].max() <= 300
    assert pauses[~within].min() >= 3600
    assert 0.7 < within.mean() < 0.9
    assert 86_400 < pauses[~within].mean() < 4 * 86_400


def test_popularity_has_a_long_tail_and_users_seldom_repeat(data: Interactions) -> None:
    counts = np.sort(np.bincount(data.items)[1:])[::-1]
    assert counts[:29].sum() > 0.2 * counts.sum()  # the top tenth, which would have 0.1 if all were equal
    assert counts[-144:].sum() < 0.35 * counts.sum()
    repeated = np.mean([1 - len(np.unique(items)) / len(items) for items in sequences(data)])
    assert repeated < 0.3


def test_half_of_the_users_change_in_the_first_half_of_their_live_stream(data: Interactions) -> None:
    lengths = np.diff(data.offsets)
    changes = data.change_points >= 0
    assert changes.sum() == 300
    live_start, live = lengths - lengths // 5, lengths // 5
    into = (data.change_points - live_start)[changes]
    assert (into >= 0).all()
    assert (into <= live[changes] // 2).all()
    assert into.min() == 0
    assert (into == (live // 2)[changes]).any()
    built = build_streams(data, np.arange(600))
    phases = session_phase(built)
    assert set(phases) == {"stationary", "before", "during", "after"}
    assert (phases == "during").sum() == 300
    assert built.num_sessions / 600 > 4


def test_genres_and_habits_change_at_the_change_point_and_not_before(data: Interactions) -> None:
    def genre_shares(items: np.ndarray) -> np.ndarray:
        return np.bincount((items - 1) // RING, minlength=len(GENRES)) / len(items)

    def overlap(before: np.ndarray, after: np.ndarray) -> float:
        return float(np.minimum(genre_shares(before), genre_shares(after)).sum())

    at_change, a_little_before = [], []
    for items, change in zip(sequences(data), data.change_points, strict=True):
        if change >= 0:
            at_change.append(overlap(items[change - 8 : change], items[change : change + 8]))
            a_little_before.append(overlap(items[change - 16 : change - 8], items[change - 8 : change]))
    assert np.mean(at_change) < 0.2 < 0.3 < np.mean(a_little_before)

    # To the row: the last interaction before the change is of a favourite genre, the first one after it hardly ever.
    old = [
        np.isin((items[[change - 1, change]] - 1) // RING, np.argsort(-genre_shares(items[:change]))[:3])
        for items, change in zip(sequences(data), data.change_points, strict=True)
        if change >= 0
    ]
    before, after = np.mean(old, axis=0)
    assert before > 0.85
    assert after < 0.2


def test_a_network_has_something_to_learn_and_a_personal_one_more(data: Interactions) -> None:
    """NDCG@10 on the live streams, from counts over the histories alone; the type is guessed from the history."""
    histories, live = [], []
    for items in sequences(data):
        live_start = len(items) - len(items) // 5
        histories.append(items[: live_start - 1])
        live.append(items[live_start - 1 :])
    types = [most_likely_type(history) for history in histories]
    popular = np.bincount(np.concatenate(histories), minlength=289) / 1e6  # breaks ties
    follows = np.zeros((4, 289, 289))
    for kind, history in zip(types, histories, strict=True):
        np.add.at(follows[kind], (history[:-1], history[1:]), 1.0)

    def ndcg(scores_of: object, keep: np.ndarray) -> float:
        gains = []
        for user in np.flatnonzero(keep):
            scores = scores_of(user, live[user][:-1])  # type: ignore[operator]
            target = np.take_along_axis(scores, live[user][1:, None], axis=1)
            rank = 1 + (scores > target).sum(axis=1)
            gains.extend(np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0))
        return float(np.mean(gains))

    everyone = follows.sum(axis=0)
    steady = data.change_points < 0
    by_popularity = ndcg(lambda user, last: np.tile(popular, (len(last), 1)), steady)
    by_last = ndcg(lambda user, last: everyone[last] + popular, steady)
    by_type = ndcg(lambda user, last: follows[types[user]][last] + 0.1 * everyone[last] + popular, steady)
    assert 0.015 < by_popularity < 0.06
    assert by_last > 3 * by_popularity
    assert by_type > 1.3 * by_last
    # What the history says of a user's type is no help after the change.
    stale = ndcg(lambda user, last: follows[types[user]][last] + 0.1 * everyone[last] + popular, ~steady)
    assert stale < 0.75 * by_type
