"""Who did what when: the one form in which every data set enters the simulation."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import UserError


@dataclass(frozen=True)
class Interactions:
    """All interactions of a data set, user by user, each user's in time order.

    Users and items are renumbered in the order of their raw ids (numeric where all of them are numbers).
    Item 0 is the padding id and never occurs. U users, N interactions, G genres.
    """

    name: str
    offsets: np.ndarray  # (U + 1,) int64: user u owns rows offsets[u]:offsets[u + 1]
    items: np.ndarray  # (N,) int32, 1..num_items
    times: np.ndarray  # (N,) int64, seconds since 1970
    user_ids: list[str]  # (U,) raw ids
    item_ids: list[str]  # (num_items + 1,) raw ids, index 0 is ""
    item_titles: list[str]  # (num_items + 1,) readable names, the raw id where there is none, index 0 is ""
    genre_names: list[str]  # (G,), empty where the data set has none
    genres: np.ndarray  # (num_items + 1, G) bool
    change_points: np.ndarray  # (U,) int64: row in the user's own sequence where the interest changes; -1 = none

    @property
    def num_users(self) -> int:
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        return len(self.item_ids) - 1

    @property
    def num_interactions(self) -> int:
        return len(self.items)

    @property
    def mean_length(self) -> float:
        """Mean number of interactions of a user."""
        return self.num_interactions / self.num_users

    @property
    def sparsity(self) -> float:
        """1 - interactions / (users x items), as in the paper's Table 6; repeated pairs count each time."""
        return 1.0 - self.num_interactions / (self.num_users * self.num_items)

    def digest(self) -> str:
        """SHA-256 of the content in hexadecimal; the data set's name has no part in it."""
        sha = hashlib.sha256()
        for array, kind in (
            (self.offsets, "<i8"),
            (self.items, "<i4"),
            (self.times, "<i8"),
            (self.genres, "|b1"),
            (self.change_points, "<i8"),
        ):
            sha.update(repr(array.shape).encode())
            sha.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        for names in (self.user_ids, self.item_ids, self.item_titles, self.genre_names):
            sha.update(repr(names).encode())
        return sha.hexdigest()


def build_interactions(
    name: str,
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    *,
    items_with_more_than: int = 0,
    users_with_at_least: int = 1,
    titles: Mapping[str, str] | None = None,
    genres: Mapping[str, Sequence[str]] | None = None,
) -> Interactions:
    """Filter, renumber and sort raw rows.

    Items are filtered first, on the raw rows; users then, on the rows that are left. Each is done once. Rows
    of one user with equal times keep the order in which they were given.

    Args:
        name: What the data set is called in tables.
        users, items: (N,) integer codes into `user_ids` and `item_ids`.
        times: (N,) int64 seconds.
        user_ids, item_ids: Raw ids by code, each of them once, in any order; unused ones are dropped.
        items_with_more_than: Keep items with strictly more interactions than this.
        users_with_at_least: Keep users with this many interactions or more.
        titles, genres: By raw item id; an item that is not named gets its raw id as title, and no genre.

    Raises:
        UserError: No interaction is left after the filter.
    """
    keep = np.bincount(items, minlength=len(item_ids))[items] > items_with_more_than
    users, items, times = users[keep], items[keep], times[keep]
    keep = np.bincount(users, minlength=len(user_ids))[users] >= users_with_at_least
    users, items, times = users[keep], items[keep], times[keep]
    if not len(items):
        raise UserError(
            f"{name}: no interaction is left after the filter (items with more than {items_with_more_than}, "
            f"users with at least {users_with_at_least} interactions); use a larger data set"
        )

    users, kept_users = _renumber(users, user_ids)
    items, kept_items = _renumber(items, item_ids)
    order = np.lexsort((times, users))
    counts = np.bincount(users, minlength=len(kept_users))
    titles = titles or {}
    genre_names, membership = _genre_table(kept_items, genres or {})
    return Interactions(
        name=name,
        offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        items=(items[order] + 1).astype(np.int32),
        times=times[order].astype(np.int64),
        user_ids=kept_users,
        item_ids=["", *kept_items],
        item_titles=["", *(titles.get(item, item) for item in kept_items)],
        genre_names=genre_names,
        genres=membership,
        change_points=np.full(len(kept_users), -1, dtype=np.int64),
    )


def _renumber(codes: np.ndarray, ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """New codes 0.. for the ids that occur, in the order of the ids; returns (codes, ids that occur)."""
    used: list[int] = np.flatnonzero(np.bincount(codes, minlength=len(ids))).tolist()
    numeric = all(ids[code].isdecimal() for code in used)
    # The text breaks the tie between "7" and "07", which are two ids.
    ranked = sorted(used, key=lambda code: (int(ids[code]) if numeric else 0, ids[code]))
    new_code = np.zeros(len(ids), dtype=np.int64)
    new_code[ranked] = np.arange(len(ranked))
    return new_code[codes], [ids[code] for code in ranked]


def _genre_table(item_ids: Sequence[str], genres: Mapping[str, Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Genre names in alphabetical order and (items + 1, G) bool membership; row 0 (padding) is empty."""
    names = sorted({genre for item in item_ids for genre in genres.get(item, ())})
    column = {genre: index for index, genre in enumerate(names)}
    table = np.zeros((len(item_ids) + 1, len(names)), dtype=bool)
    for row, item in enumerate(item_ids, start=1):
        for genre in genres.get(item, ()):
            table[row, column[genre]] = True
    return names, table
