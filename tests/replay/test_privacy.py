"""An attacker on requests of a hand-made linear extractor, on noise, on the items themselves; and its measures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from replay.privacy import attacker, people
from replay.privacy.accountant import epsilon
from replay.privacy.attacker import Targets, scores, train
from replay.privacy.knowledge import Observed, codes
from replay.privacy.leaks import (
    MATCHED,
    MEMBERSHIP,
    RECALL,
    Sums,
    auc,
    by_counts,
    by_items,
    by_popularity,
    leaks,
    matched_auc,
)
from replay.privacy.shadow import session_starts

ITEMS, USERS, REQUESTS, LIVE = 30, 200, 3, 4
POPULAR = np.arange(ITEMS, 0, -1)


def made(seed: int, kind: str) -> Observed:
    """Users who know 5 items and then meet 4 others before each of their requests.

    ``linear``: a request is the count of each live item, one number an item, which a linear map inverts. ``noise``: it
    is drawn from nothing.
    """
    rng = np.random.default_rng(seed)
    known, owner, live, following, numbers = [], [], [], [], []
    for user in range(USERS):
        order = rng.permutation(ITEMS) + 1
        known.append(order[:5])
        for request in range(REQUESTS):
            seen = order[5 : 5 + LIVE * (request + 1)]
            owner.append(user)
            live.append(seen)
            following.append(int(order[5 + LIVE * (request + 1)]))
            numbers.append(np.bincount(seen - 1, minlength=ITEMS) if kind == "linear" else rng.standard_normal(ITEMS))
    return Observed(
        known=known,
        known_codes=np.zeros((USERS, ITEMS), dtype=np.float32),
        prior=np.full((USERS, ITEMS), -math.log(ITEMS), dtype=np.float32),
        owner=np.array(owner),
        codes=np.array(numbers, dtype=np.float32),
        live=live,
        following=np.array(following),
    )


def mean(sums: Sums, name: str) -> float:
    top, bottom = sums[name]
    return float(top.sum() / bottom.sum())


@pytest.fixture(scope="module", params=["upload", "uploads"])
def found(request: pytest.FixtureRequest) -> dict[str, Sums]:
    out = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attacker, "EPOCHS", 60)
        patch.setattr(attacker, "PATIENCE", 10)
        patch.setattr(attacker, "DROPOUT", 0.0)
        for kind in ("linear", "noise"):
            model = train(made(0, kind), request.param, 0)
            victims = made(1, kind)
            out[kind] = leaks(victims, scores(model, victims), POPULAR)
    return out


def test_a_linear_extractor_is_inverted(found: dict[str, Sums]) -> None:
    assert mean(found["linear"], "recall@50") > 0.99  # 25 items are left, all of them are in a list of 50
    assert mean(found["linear"], MEMBERSHIP) > 0.93
    assert mean(found["linear"], MATCHED) > 0.93
    assert mean(found["linear"], "recall@10") > 0.75


def test_noise_tells_nothing(found: dict[str, Sums]) -> None:
    prior = leaks(made(1, "noise"), by_counts(made(1, "noise")), POPULAR)
    assert mean(found["noise"], MEMBERSHIP) == pytest.approx(0.5, abs=0.04)
    assert mean(found["noise"], MATCHED) == pytest.approx(0.5, abs=0.04)
    assert mean(found["noise"], "recall@10") <= mean(prior, "recall@10") + 0.05
    assert mean(found["noise"], "recall@1") < 0.1


def test_requests_without_spread_leave_what_is_known_in_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that sends its path alone sends zeros for the latent interest: they are no unit for the known ones."""
    monkeypatch.setattr(attacker, "EPOCHS", 1)
    plain = made(3, "noise")
    known = np.random.default_rng(3).standard_normal((USERS, ITEMS)).astype(np.float32)
    silent = replace(plain, known_codes=known, codes=np.zeros_like(plain.codes))
    model = train(silent, "history", 0)
    scaled = (torch.from_numpy(known) - model.mean) / model.deviation
    share = USERS / (USERS + USERS * REQUESTS)  # of the rows that are not zero
    assert scaled.std(0).mean() == pytest.approx(1 / math.sqrt(share), rel=0.1)


def test_the_items_themselves_give_everything() -> None:
    observed = made(2, "linear")

    def following(rows: np.ndarray) -> torch.Tensor:
        out = torch.zeros(len(rows), ITEMS)
        out[torch.arange(len(rows)), torch.from_numpy(observed.following[rows]) - 1] = 1
        return out

    sums = leaks(observed, by_items(observed, POPULAR, following), POPULAR)
    assert {name: mean(sums, name) for name in (*RECALL, MEMBERSHIP, MATCHED, "hit@10", "ndcg@10")} == dict.fromkeys(
        (*RECALL, MEMBERSHIP, MATCHED, "hit@10", "ndcg@10"), 1.0
    )
    assert sums["recall@1"][1].tolist() == [REQUESTS] * USERS
    assert sums[MEMBERSHIP][1].tolist() == [1] * USERS


def test_guessing_by_popularity_by_hand() -> None:
    """Item 1 is the most popular. The device knows it; 2 and 5 are live, 5 the latest; 3 follows."""
    observed = Observed(
        known=[np.array([1])],
        known_codes=np.zeros((1, 2), dtype=np.float32),
        prior=np.zeros((1, 6), dtype=np.float32),
        owner=np.array([0]),
        codes=np.zeros((1, 2), dtype=np.float32),
        live=[np.array([2, 1, 5])],
        following=np.array([3]),
    )
    popular = np.array([9, 8, 7, 6, 5, 4])
    sums = leaks(observed, by_popularity(observed, popular), popular)
    assert mean(sums, "recall@1") == 0.0  # it names 2, the last one was 5
    assert mean(sums, "recall@10") == 1.0
    # Of 2 and 5 against 3, 4 and 6: 2 is ahead of all three, 5 of one.
    assert mean(sums, MEMBERSHIP) == pytest.approx(4 / 6)
    assert mean(sums, "ndcg@10") == pytest.approx(1 / math.log2(3))
    targets = Targets(observed)
    assert targets.items[targets.heads == 0].tolist() == [4]
    assert targets.shares[targets.heads == 1].tolist() == [0.5, 0.5]
    assert targets.items[targets.heads == 3].tolist() == [2]


def test_auc_counts_pairs() -> None:
    assert auc(np.array([3.0, 1.0]), np.array([2.0, 1.0])) == pytest.approx((2 + 0.5) / 4)
    popular = np.repeat(np.arange(10), 10)
    others = np.setdiff1d(np.arange(1, 101), [55])
    # Ten of the nearest twenty are as popular, the others are split between more and less: nothing is told.
    assert matched_auc(popular.astype(float), np.array([55]), others, popular) == pytest.approx(0.5, abs=0.06)
    score = np.zeros(100)
    score[54] = 1.0
    assert matched_auc(score, np.array([55]), others, popular) == 1.0


def test_sessions_end_with_a_pause_or_at_their_most() -> None:
    times = np.array([0, 10, 20, 5000, 5010, 5020, 5030])
    assert session_starts(times, 1, 30.0, 3) == [1, 3, 6]


def test_a_latent_interest_that_was_not_sent_is_zero() -> None:
    paths = np.array([[True, False]])
    assert codes(paths, np.full((1, 64), np.nan)).tolist() == [[1.0, -1.0, *[0.0] * 64]]


def test_people_are_told_where_features_tell_and_not_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((400, 2)) < 0.3
    noise = rng.standard_normal((400, 8))
    telling = noise + np.outer(3 * labels[:, 0], np.ones(8))
    found = people.told(telling, labels, 0)
    assert people.auc(found[:, 0], labels[:, 0]) > 0.99
    assert abs(people.auc(found[:, 1], labels[:, 1]) - 0.5) < 0.1
    low, high = people.interval(found[:, 0], labels[:, 0])
    assert 0.95 < low <= high <= 1


@pytest.mark.parametrize(("noise", "releases"), [(2.0, 1), (4.0, 1), (3.0, 7)])
def test_epsilon_is_that_of_the_gaussian_mechanism(noise: float, releases: int) -> None:
    """Balle and Wang's condition: with sensitivity / deviation ``s``, delta of an epsilon has a closed form."""
    found = epsilon(noise, releases, delta=1e-5)
    s = 2 * math.sqrt(releases) / noise
    delta = norm.cdf(s / 2 - found / s) - math.exp(found) * norm.cdf(-s / 2 - found / s)
    assert delta == pytest.approx(1e-5, rel=1e-3)
    assert epsilon(noise, releases + 1) > found
    assert epsilon(0.0, 1) == math.inf
    assert epsilon(1.0, 0) == 0.0
