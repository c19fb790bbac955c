"""Who a user is: gender and age, told from requests, from known histories, and from all items.

The attacker learns from the labels of some users and is tested on the others: in five folds, so that every user is
tested once by an attacker that never saw its label. It is kernel ridge regression on labels of 1 and -1 (Saunders et
al., ICML 1998); of requests linear or with Gaussian similarity, of items linear. Kernel and ridge are those with the
lowest leave-one-out error on the users whose labels it knows.
"""

import numpy as np
from scipy.stats import rankdata

from core.seeds import numpy_generator
from replay.privacy.knowledge import Observed

FOLDS = 5
MANY = 200
"""As many features are items and not numbers of requests."""
RIDGES = (0.01, 0.1, 1.0, 10.0)
"""In units of the mean similarity of a user to itself."""
YOUNG = 35
"""Age is told as below this or not: the groups of MovieLens-1M begin at 1, 18, 25 | 35, 45, 50 and 56."""


def of_requests(observed: Observed) -> tuple[np.ndarray, np.ndarray]:
    """Features of every user's last request ``(K, F)``, and of all its requests ``(K, 2 F)``: their mean beside it."""
    width = observed.codes.shape[1]
    last, mean = np.zeros((len(observed.known), width)), np.zeros((len(observed.known), width))
    last[observed.owner[observed.last]] = observed.codes[observed.last]
    np.add.at(mean, observed.owner, observed.codes)
    mean /= np.maximum(np.bincount(observed.owner, minlength=len(mean)), 1)[:, None]
    return last, np.concatenate([last, mean], axis=1)


def of_items(sequences: list[np.ndarray], num_items: int) -> np.ndarray:
    """Which items each user has, ``(K, I)``, each row of length 1."""
    found = np.zeros((len(sequences), num_items))
    for row, items in enumerate(sequences):
        found[row, items - 1] = 1
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def told(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Scores ``(K, n)`` of users to have each of ``n`` labels ``(K, n)`` bool, by an attacker that does not know the
    user's own."""
    rng = numpy_generator(seed, "labels")
    fold = rng.permutation(len(labels)) % FOLDS
    centred = features - features.mean(0)
    if features.shape[1] >= MANY:
        kernels = [centred @ centred.T]
    else:
        centred = centred / np.maximum(centred.std(0), 1e-9)
        linear = centred @ centred.T
        distances = np.diag(linear)[:, None] + np.diag(linear) - 2 * linear
        kernels = [linear, np.exp(-distances / max(np.median(distances), 1e-12))]
    out = np.zeros(labels.shape)
    for one in range(FOLDS):
        known, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        out[asked] = _fit(kernels, known, asked, np.where(labels[known], 1.0, -1.0))
    return out


def _fit(kernels: list[np.ndarray], known: np.ndarray, asked: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Scores ``(len(asked), n)`` by the kernel and the ridge with the lowest leave-one-out error on ``known``, for each
    label."""
    best, found = np.full(wanted.shape[1], np.inf), np.zeros((len(asked), wanted.shape[1]))
    middle = wanted.mean(0)
    for kernel in kernels:
        values, vectors = np.linalg.eigh(kernel[np.ix_(known, known)])
        turned = vectors.T @ (wanted - middle)
        for ridge in RIDGES:
            inverse = 1 / (np.maximum(values, 0) + ridge * np.trace(kernel) / len(kernel))
            weights = vectors @ (inverse[:, None] * turned)
            errors = np.mean((weights / np.maximum((vectors**2) @ inverse, 1e-12)[:, None]) ** 2, axis=0)
            better = errors < best
            best[better] = errors[better]
            found[:, better] = (kernel[np.ix_(asked, known)] @ weights + middle)[:, better]
    return found


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs of a true and a false label in which the true one has the higher score; NaN without pairs."""
    inside = int(labels.sum())
    if not 0 < inside < len(labels):
        return float("nan")
    places = rankdata(scores)
    return float((places[labels].sum() - inside * (inside + 1) / 2) / (inside * (len(labels) - inside)))


def interval(scores: np.ndarray, labels: np.ndarray, replicates: int = 500) -> tuple[float, float]:
    """The 95 % interval of :func:`auc` over users drawn with replacement."""
    rng = np.random.default_rng(0)  # fixed: the same scores give the same interval
    drawn = rng.integers(0, len(labels), (replicates, len(labels)))
    low, high = np.nanpercentile([auc(scores[one], labels[one]) for one in drawn], [2.5, 97.5])
    return float(low), float(high)
