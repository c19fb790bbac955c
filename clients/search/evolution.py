"""Evolutionary search for a path, for many devices at once: each evolves its own population.

As in one-shot architecture search (Guo et al. 2020), which LitePred's predictor serves: the best paths so far are
mutated and crossed, and a path that the device cannot afford loses random blocks until it can. Small numbers: a device
has no more than 2^L paths, and evaluates none of them twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

POPULATION = 16
"""Random paths to begin with, the whole network among them."""
GENERATIONS = 5
PARENTS = 6
"""The best paths so far, which the next generation comes from."""
MUTANTS, CROSSED = 8, 8
"""New paths of a generation."""
MUTATION = 0.2
"""Probability that a block is switched in a mutant."""

Fits = Callable[[np.ndarray], bool]
"""Whether a device can afford a path ``(L,)`` bool."""
Losses = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Loss of each candidate ``(E,)``, from the devices ``(E,)`` and the paths ``(E, L)`` of them."""


@dataclass(frozen=True)
class Found:
    """What one device's search gave."""

    path: np.ndarray
    """``(L,)`` bool: the best there was; of equally good ones that with the fewest blocks."""
    evaluated: np.ndarray
    """``(E, L)`` bool: all paths whose loss was measured."""


def most_evaluations(blocks: int) -> int:
    """No search evaluates more paths than this."""
    return int(min(POPULATION + GENERATIONS * (MUTANTS + CROSSED), 2**blocks))


def evolve(blocks: int, fits: Sequence[Fits], rngs: list[np.random.Generator], losses: Losses) -> list[Found]:
    """Search for each of ``D`` devices, with random numbers of its own. Of the network without blocks, ``fits`` has to
    be true."""
    known: list[dict[tuple[bool, ...], float]] = [{} for _ in fits]
    for generation in range(GENERATIONS + 1):
        rows, paths = [], []
        for d, (affords, rng) in enumerate(zip(fits, rngs, strict=True)):
            born = _children(known[d], rng) if generation else _first(blocks, rng)
            for path in dict.fromkeys(tuple(repair(path, affords, rng).tolist()) for path in born):
                if path not in known[d]:
                    rows.append(d)
                    paths.append(path)
        if rows:
            found = losses(np.array(rows), np.array(paths))
            for d, path, loss in zip(rows, paths, found.tolist(), strict=True):
                known[d][path] = loss
    return [Found(np.array(_best(mine)[0]), np.array(list(mine))) for mine in known]


def repair(path: np.ndarray, fits: Fits, rng: np.random.Generator) -> np.ndarray:
    """``path`` ``(L,)`` with at least one block, then without random blocks until it fits or nothing is left."""
    out = path.copy()
    if not out.any():
        out[rng.integers(len(out))] = True
    while out.any() and not fits(out):
        out[rng.choice(np.flatnonzero(out))] = False
    return out


def _first(blocks: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [np.ones(blocks, dtype=bool), *(rng.random((POPULATION - 1, blocks)) < 0.5)]


def _children(known: dict[tuple[bool, ...], float], rng: np.random.Generator) -> list[np.ndarray]:
    parents = np.array(_best(known))
    blocks = parents.shape[1]
    mutants = parents[rng.integers(len(parents), size=MUTANTS)] ^ (rng.random((MUTANTS, blocks)) < MUTATION)
    one, other = parents[rng.integers(len(parents), size=(2, CROSSED))]
    return [*mutants, *np.where(rng.random((CROSSED, blocks)) < 0.5, one, other)]


def _best(known: dict[tuple[bool, ...], float]) -> list[tuple[bool, ...]]:
    return sorted(known, key=lambda path: (known[path], sum(path), path))[:PARENTS]
