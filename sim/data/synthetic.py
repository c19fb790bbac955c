"""The embedded data set: users whose interests drift at known moments, generated from a seed, no download.

A made-up film catalogue. The films of each of the 12 genres stand in a ring, and popularity falls off like Zipf's
law inside a genre and between genres. A user has an *interest*, a mixture over three genres, and a *type*, one of
four, with two habits. After a film, a user of type k often goes on to one of the films around k's own stride further
along the ring; and each film has a flavour that one of the types likes better. A user comes in sittings, days apart;
each has a mood, a genre drawn from the interest. At each step the user follows on from the last film, or picks a
popular film of the mood. For half of the users both interest and type change at one known row, anywhere from the
first live event to the middle of the live stream.

So popularity predicts a little, the last film alone more, and the last film together with the type (which the recent
films betray) much more: there is something to gain for a network adapted to the device, and something to lose when
it is stale. Hit@10 on the live streams (last 20 % of each user) against all films, from counts over the histories:
0.09 for the most popular films, 0.66 for those that most often followed the last film, 0.76 for the same among users
of the same type (NDCG@10: 0.04, 0.37, 0.58). After the change the last is 0.71 with the new type and 0.45 with the
old one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.seeds import numpy_generator
from sim.data.interactions import Interactions

GENRES = (
    "Action", "Animation", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Horror", "Musical", "Mystery", "Romance", "Western",
)  # fmt: skip
_ADJECTIVES = (
    "Silent", "Golden", "Broken", "Distant", "Burning", "Hidden", "Crimson", "Endless", "Forgotten", "Electric",
    "Hollow", "Midnight", "Paper", "Restless", "Sacred", "Velvet", "Wandering", "Winter", "Borrowed", "Lucky",
)  # fmt: skip
_NOUNS = (
    "Harbour", "River", "Empire", "Garden", "Letter", "Machine", "Mirror", "Mountain", "Orchard", "Promise", "Road",
    "Season", "Shadow", "Signal", "Station", "Stranger", "Summer", "Theatre", "Tide", "Tower", "Voyage", "Witness",
)  # fmt: skip

BLOCK = 20_000
"""Users beyond the first ones that are generated at once, so that memory grows with what is kept alone."""
FAVOURITES = (0.5, 0.3, 0.2)  # shares of a user's favourite genres in the interest

_DAY = 86_400
_BEGIN = 1_577_836_800  # 1 January 2020


@dataclass(frozen=True)
class Recipe:
    """Sizes and strengths of the generated world."""

    users: int = 600
    items_per_genre: int = 24
    types: int = 4
    shortest: int = 60  # interactions of a user, both ends included
    longest: int = 110
    drifting: float = 0.5  # share of users with a change point
    follow: float = 0.8  # probability to follow on from the last film
    spread: tuple[float, ...] = (0.2, 0.6, 0.2)  # over the films around the stride
    zipf: float = 1.5  # exponent of popularity inside a genre
    second_genre: float = 0.25  # share of films with a second genre
    second_weight: float = 0.3  # appeal of a film in its second genre, relative to its first
    sitting: float = 5.0  # mean interactions of a sitting
    own_flavour: float = 6.0  # appeal of a film of the type's own flavour, relative to the others
    recent: int = 30  # a user avoids the last films seen


@dataclass(frozen=True)
class _Catalogue:
    """I films in G rings; film number g * ring + p stands at place p of genre g's ring."""

    ring: int
    titles: list[str]  # (I,)
    genres: np.ndarray  # (I, G) bool
    genre_appeal: np.ndarray  # (G,) sums to 1
    cumulative: np.ndarray  # (types, G, I) running sums, ending in 1, of what each film appeals to a type and mood


def _catalogue(random: np.random.Generator, recipe: Recipe) -> _Catalogue:
    ring, count = recipe.items_per_genre, len(GENRES)
    films = np.arange(count * ring)
    popularity = np.concatenate([_zipf(random, ring, recipe.zipf) for _ in GENRES])
    first = films // ring
    second = (first + random.integers(1, count, size=len(films))) % count
    has_second = random.random(len(films)) < recipe.second_genre
    appeal = np.zeros((count, len(films)))
    appeal[first, films] = popularity
    appeal[second[has_second], films[has_second]] = recipe.second_weight * popularity[has_second]
    flavour = random.integers(recipe.types, size=len(films))
    taste = np.where(flavour == np.arange(recipe.types)[:, None], recipe.own_flavour, 1.0)
    cumulative = np.cumsum(taste[:, None, :] * appeal, axis=2)
    names = random.permutation(len(_ADJECTIVES) * len(_NOUNS))[: len(films)]
    return _Catalogue(
        ring=ring,
        titles=[f"The {_ADJECTIVES[n // len(_NOUNS)]} {_NOUNS[n % len(_NOUNS)]}" for n in names],
        genres=(appeal > 0).T,
        genre_appeal=_zipf(random, count, 0.5),
        cumulative=cumulative / cumulative[:, :, -1:],
    )


def _zipf(random: np.random.Generator, size: int, exponent: float) -> np.ndarray:
    """(size,) shares that sum to 1, in random order."""
    shares = 1.0 / (1 + random.permutation(size)) ** exponent
    return shares / shares.sum()


def _interests(random: np.random.Generator, catalogue: _Catalogue, users: int) -> np.ndarray:
    """(2, U, G) running sums of each user's mixture over genres, before and after the change.

    The favourites after the change are other genres than those before it (the first of a weighted shuffle, and the
    next).
    """
    keys = np.log(catalogue.genre_appeal) + random.gumbel(size=(users, len(GENRES)))
    shuffled = np.argsort(-keys, axis=1)
    mixtures = np.zeros((2, users, len(GENRES)))
    for side in range(2):
        for place, share in enumerate(FAVOURITES):
            mixtures[side, np.arange(users), shuffled[:, side * len(FAVOURITES) + place]] = share
    return np.cumsum(mixtures, axis=2) / sum(FAVOURITES)


def _change_points(random: np.random.Generator, lengths: np.ndarray, recipe: Recipe) -> np.ndarray:
    """(U,) row of the change for the drifting share of the users, -1 for the others."""
    live = lengths // 5  # the last 20 %, as sim.world.streams splits it
    points = lengths - live + random.integers(0, live // 2 + 1)
    drifts = random.permutation(len(lengths)) < round(recipe.drifting * len(lengths))
    return np.where(drifts, points, -1)


def _draw(random: np.random.Generator, cumulative: np.ndarray) -> np.ndarray:
    """(U,) one column per row, by running sums (U, columns) that end in 1."""
    return (cumulative < random.random((len(cumulative), 1))).sum(axis=1)


def _draw_films(random: np.random.Generator, cumulative: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The same as ``_draw(random, cumulative[rows])``, found by halving: 9 comparisons a draw in place of 288."""
    drawn, columns = random.random((len(rows), 1))[:, 0], cumulative.shape[1]
    flat, begin = cumulative.reshape(-1), rows * columns
    below = np.zeros(len(rows), dtype=np.int64)
    step = 1 << (columns.bit_length() - 1)
    while step:
        place = np.minimum(below + step, columns)
        below = np.where(flat[begin + place - 1] < drawn, place, below)
        step //= 2
    return below


def _choose(
    random: np.random.Generator,
    catalogue: _Catalogue,
    last: np.ndarray,
    mood: np.ndarray,
    types: np.ndarray,
    may_follow: np.ndarray,
    recipe: Recipe,
) -> np.ndarray:
    """(U,) the next film of each user: one that follows on from the last film, or a popular one of the mood."""
    ring = catalogue.ring
    step = _draw(random, np.broadcast_to(np.cumsum(recipe.spread), (len(last), len(recipe.spread))))
    step -= len(recipe.spread) // 2
    stride = (2 * types + 1) * ring // (2 * recipe.types)
    following = last - last % ring + (last + stride + step) % ring
    follows = may_follow & (random.random(len(last)) < recipe.follow)
    films = catalogue.cumulative.reshape(-1, catalogue.cumulative.shape[2])
    return np.where(follows, following, _draw_films(random, films, types * len(GENRES) + mood))


def load_synthetic(data_dir: Path | None = None, users: int = 0) -> Interactions:
    """The embedded data set, always the same; no folder is looked at. It has at least so many ``users``."""
    return generate(0, users=users)


def generate(seed: int, recipe: Recipe = Recipe(), users: int = 0) -> Interactions:
    """Generate a data set.

    Args:
        seed: Everything is derived from it.
        recipe: Sizes and strengths.
        users: At least so many; those beyond the recipe's come after them and change nothing of them.

    Returns:
        The interactions; `change_points` holds, for each user, the row of the first interaction after the change of
        interest and type, or -1; `types` the type of the user, from 1, at each interaction.
    """
    catalogue = _catalogue(numpy_generator(seed, "synthetic", "catalogue"), recipe)
    blocks = [_generate_users(numpy_generator(seed, "synthetic", "users"), catalogue, recipe, recipe.users)]
    for first in range(recipe.users, users, BLOCK):
        random = numpy_generator(seed, "synthetic", "users", first)
        blocks.append(_generate_users(random, catalogue, recipe, min(BLOCK, users - first)))
    lengths, items, times, change_points, in_force = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Interactions(
        name="synthetic",
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=items,
        times=times,
        user_ids=[f"user{user}" for user in range(len(lengths))],
        item_ids=["", *(f"film{item}" for item in range(1, len(catalogue.titles) + 1))],
        item_titles=["", *catalogue.titles],
        genre_names=list(GENRES),
        genres=np.concatenate((np.zeros((1, len(GENRES)), dtype=bool), catalogue.genres)),
        change_points=change_points,
        types=in_force,
    )


def _generate_users(
    random: np.random.Generator, catalogue: _Catalogue, recipe: Recipe, users: int
) -> tuple[np.ndarray, ...]:
    """Of so many users: lengths (U,), items and times of all of them one after the other (N,), change points (U,), and
    the type in force at each interaction (N,)."""
    longest = recipe.longest
    lengths = random.integers(recipe.shortest, longest + 1, size=users)
    change_points = _change_points(random, lengths, recipe)
    interests = _interests(random, catalogue, users)
    # The second type is another one than the first, so that every change is felt.
    first_type = random.integers(recipe.types, size=users)
    types = np.stack([first_type, (first_type + random.integers(1, recipe.types, size=users)) % recipe.types])

    everyone = np.arange(users)
    played = np.zeros((users, longest), dtype=np.int64)  # positions in the catalogue, 0-based
    in_force = np.zeros((users, longest), dtype=np.int32)
    times = np.zeros((users, longest), dtype=np.int64)
    clock = _BEGIN + random.integers(0, 180 * _DAY, size=users)
    mood = np.zeros(users, dtype=np.int64)
    for step in range(longest):
        side = ((change_points >= 0) & (step >= change_points)).astype(np.int64)
        new_sitting = random.random(users) < 1 / recipe.sitting
        if step == 0:
            new_sitting[:] = True
        clock = clock + np.where(
            new_sitting,
            3600 + random.exponential(2 * _DAY, size=users).astype(np.int64),
            20 + random.integers(0, 280, size=users),
        )
        new_mood = new_sitting | (step == change_points)
        mood = np.where(new_mood, _draw(random, interests[side, everyone]), mood)
        # A new mood, and so the first step, starts from a popular film: it has nothing to follow on from.
        chosen = _choose(random, catalogue, played[:, step - 1], mood, types[side, everyone], ~new_mood, recipe)
        for _ in range(4):  # after so many tries a film seen lately is accepted
            seen = (played[:, max(0, step - recipe.recent) : step] == chosen[:, None]).any(axis=1)
            again = _choose(random, catalogue, played[:, step - 1], mood, types[side, everyone], ~new_mood, recipe)
            chosen = np.where(seen, again, chosen)
        played[:, step], times[:, step], in_force[:, step] = chosen, clock, types[side, everyone] + 1

    inside = np.arange(longest) < lengths[:, None]
    return lengths, (played[inside] + 1).astype(np.int32), times[inside], change_points, in_force[inside]
