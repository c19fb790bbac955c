"""Who did what when: the one form in which every data set enters the simulation."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.errors import UserError


@dataclass(frozen=True)
class Interactions:
    """All interactions of a data set, user by user, each user's in time order.

    Users and items are renumbered in the order of their raw ids: that of the numbers where all of them are numbers, or
    numbers behind one prefix (u1, u2, ..., u10), so that both forms of an id give the same run; else alphabetical. Item
    0 is the padding id and never occurs. U users, N interactions, G genres.
    """

    name: str  # a data set's own name, or a file's with its suffix
    offsets: np.ndarray  # (U + 1,) int64: user u owns rows offsets[u]:offsets[u + 1]
    items: np.ndarray  # (N,) int32, 1..num_items
    times: np.ndarray  # (N,) int64, seconds since 1970
    user_ids: list[str]  # (U,) raw ids
    item_ids: list[str]  # (num_items + 1,) raw ids, index 0 is ""
    item_titles: list[str]  # (num_items + 1,) readable names, the raw id where there is none, index 0 is ""
    genre_names: list[str]  # (G,), empty where the data set has none
    genres: np.ndarray  # (num_items + 1, G) bool
    change_points: np.ndarray  # (U,) int64: row in the user's own sequence where the interest changes; -1 = none
    ties: np.ndarray | None = None  # (N,) bool, see :meth:`tied`; None: rows of equal seconds tie
    types: np.ndarray | None = None  # (N,) int32 from 1: the type of the user at each row, in generated data; else None
    notes: tuple[str, ...] = ()  # what the loader told by itself and what it left out, a line each

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

    def tied(self) -> np.ndarray:
        """(N,) bool: whether a row has exactly the time of the row before it, of the same user.

        Only the source's order of rows decides which of the two comes first.
        """
        if self.ties is not None:
            return self.ties
        return _ties(np.repeat(np.arange(self.num_users), np.diff(self.offsets)), self.times)

    def shuffle_ties(self, random: np.random.Generator) -> "Interactions":
        """The same with the rows of one user that have equal times in a random order."""
        runs = np.cumsum(~self.tied())
        order = np.lexsort((random.random(self.num_interactions), runs))
        return replace(self, items=self.items[order])

    def digest(self) -> str:
        """SHA-256 of the content in hexadecimal; name, notes, types and ties below a second have no part in it."""
        arrays = (
            (self.offsets, "<i8"),
            (self.items, "<i4"),
            (self.times, "<i8"),
            (self.genres, "|b1"),
            (self.change_points, "<i8"),
        )
        return _sha256(arrays, (self.user_ids, self.item_ids, self.item_titles, self.genre_names))

    def fingerprint(self) -> str:
        """Of users, items and times, 16 hexadecimal digits: equal where a number stands for the same user and item.

        Which of two interactions at one time comes first has no part in it.
        """
        return _sha256(((self.offsets, "<i8"), (self.times, "<i8")), (self.user_ids, self.item_ids))[:16]


def _sha256(arrays: Iterable[tuple[np.ndarray, str]], names: Iterable[Sequence[str]]) -> str:
    """In hexadecimal, of arrays with their types and of lists of names."""
    sha = hashlib.sha256()
    for array, kind in arrays:
        sha.update(repr(array.shape).encode())
        sha.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    for listed in names:
        sha.update(repr(listed).encode())
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
    ticks: int = 1,
    notes: Sequence[str] = (),
) -> Interactions:
    """Filter, renumber and sort raw rows.

    Items are filtered first, on the raw rows; users then, on the rows that are left. Each is done once. Rows
    of one user with equal times keep the order in which they were given.

    Args:
        name: What the data set is called in tables.
        users, items: (N,) integer codes into `user_ids` and `item_ids`.
        times: (N,) int64 in `ticks` of a second; rows are ordered by them, and fractions of a second then dropped.
        user_ids, item_ids: Raw ids by code, each of them once, in any order; unused ones are dropped.
        items_with_more_than: Keep items with strictly more interactions than this.
        users_with_at_least: Keep users with this many interactions or more.
        titles, genres: By raw item id; an item that is not named gets its raw id as title, and no genre.
        ticks: Of a second, in `times`.
        notes: What the loader recognised by itself.

    Raises:
        UserError: No interaction is left after the filter.
    """
    notes = list(notes)
    frequent = np.bincount(items, minlength=len(item_ids)) > items_with_more_than
    if not frequent.all():
        keep = frequent[items]
        users, items, times = users[keep], items[keep], times[keep]
        left = f"{len(frequent) - frequent.sum():,} of {len(frequent):,} items"
        notes.append(f"filter: {left} left out, they have {items_with_more_than} interactions or fewer")
    counts = np.bincount(users, minlength=len(user_ids))
    active = counts >= users_with_at_least
    if not active.all():
        keep = active[users]
        users, items, times = users[keep], items[keep], times[keep]
        left = f"{len(active) - active.sum():,} of {len(active):,} users"
        notes.append(f"filter: {left} left out, they have fewer than {users_with_at_least} interactions")
    if not len(items):
        raise UserError(
            f"{name}: no interaction is left after the filter (items with more than {items_with_more_than}, "
            f"users with at least {users_with_at_least} interactions); use a larger data set"
        )

    users, kept_users = _renumber(users, user_ids)
    items, kept_items = _renumber(items, item_ids)
    order = np.lexsort((times, users))
    users, times = users[order], times[order]
    titles = titles or {}
    genre_names, membership = _genre_table(kept_items, genres or {})
    return Interactions(
        name=name,
        offsets=np.searchsorted(users, np.arange(len(kept_users) + 1, dtype=users.dtype)).astype(np.int64),
        items=(items[order] + 1).astype(np.int32),
        times=(times // ticks).astype(np.int64),
        user_ids=kept_users,
        item_ids=["", *kept_items],
        item_titles=["", *(titles.get(item, item) for item in kept_items)],
        genre_names=genre_names,
        genres=membership,
        change_points=np.full(len(kept_users), -1, dtype=np.int64),
        ties=_ties(users, times),
        notes=tuple(notes),
    )


def _ties(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a row has the user and the time of the row before it."""
    out = np.zeros(len(users), dtype=bool)
    out[1:] = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    return out


def _renumber(codes: np.ndarray, ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """New codes 0.. for the ids that occur, in the order of the ids; returns (codes, ids that occur)."""
    used: list[int] = np.flatnonzero(np.bincount(codes, minlength=len(ids))).tolist()
    texts = [ids[code] for code in used]
    prefix = texts[0].rstrip("0123456789")
    numbers = [text.removeprefix(prefix) for text in texts]
    if all(
        text.startswith(prefix) and part.isascii() and part.isdecimal()
        for text, part in zip(texts, numbers, strict=True)
    ):
        # A number of any length: the longer one is larger. The text breaks the tie between "7" and "07", two ids.
        values = [part.lstrip("0") for part in numbers]
        ranks = sorted(range(len(used)), key=lambda place: (len(values[place]), values[place], texts[place]))
    else:
        ranks = sorted(range(len(used)), key=texts.__getitem__)
    new_code = np.zeros(len(ids), dtype=np.int32)
    new_code[np.array(used)[ranks]] = np.arange(len(ranks))
    return new_code[codes], [texts[place] for place in ranks]


def _genre_table(item_ids: Sequence[str], genres: Mapping[str, Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Genre names in alphabetical order and (items + 1, G) bool membership; row 0 (padding) is empty."""
    names = sorted({genre for item in item_ids for genre in genres.get(item, ())})
    column = {genre: index for index, genre in enumerate(names)}
    table = np.zeros((len(item_ids) + 1, len(names)), dtype=bool)
    for row, item in enumerate(item_ids, start=1):
        for genre in genres.get(item, ()):
            table[row, column[genre]] = True
    return names, table
