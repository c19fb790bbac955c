"""Ranks, Hit@10 and NDCG@10 against a brute-force oracle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kernels.softmax_loss import full_softmax_loss
from models.metrics import best_items, hits, ndcg, ranks


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.data())
def test_rank_against_counting_by_hand(scores: list[int], data: st.DataObject) -> None:
    target = data.draw(st.integers(1, len(scores)))
    others = [s for i, s in enumerate(scores, start=1) if i != target]
    expected = 1 + sum(s >= scores[target - 1] for s in others)  # ties count against the target
    got = ranks(torch.tensor(scores, dtype=torch.float32), torch.tensor(target))
    assert got.item() == expected
    assert hits(got).item() == (1 if expected <= 10 else 0)
    gain = 1 / math.log2(1 + expected) if expected <= 10 else 0.0
    assert math.isclose(ndcg(got).item(), gain, rel_tol=1e-12)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("scores", "target", "expected"),
    [
        ([NAN, 1.0, 2.0], 1, 3),  # a NaN ranks last
        ([NAN, NAN, NAN], 2, 3),  # whatever the others score
        ([1.0, NAN, 0.0], 1, 2),  # and no target ranks before a NaN
        ([INF, 1.0, 2.0], 1, 3),  # an overflow is no score
        ([INF, INF, 2.0], 3, 3),
        ([-INF, 1.0, 2.0], 1, 3),
        ([-INF, 1.0, 2.0], 3, 1),  # what is masked out ranks behind
        ([0.0, 0.0, 0.0], 2, 3),  # constant scores never look good
    ],
)
def test_a_score_that_is_not_finite_ranks_last(scores: list[float], target: int, expected: int) -> None:
    assert ranks(torch.tensor(scores), torch.tensor(target)).item() == expected
    if not math.isfinite(scores[target - 1]):
        rank = ranks(torch.tensor([*scores, *[0.5] * 20]), torch.tensor(target))
        assert rank.item() == len(scores) + 20
        assert (hits(rank).item(), ndcg(rank).item()) == (0, 0)


@pytest.mark.parametrize("rank", [NAN, 0.0, -1.0, INF])
def test_what_is_no_rank_is_worth_nothing(rank: float) -> None:
    assert hits(torch.tensor([rank])).item() == 0
    assert ndcg(torch.tensor([rank])).item() == 0


def test_the_best_items_have_scores() -> None:
    scores = torch.tensor([[NAN, 3.0, INF, 5.0, -INF], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert best_items(scores, 2).tolist() == [[4, 2], [5, 4]]
    assert best_items(scores[1]).tolist() == [5, 4, 3, 2, 1]


def test_ndcg_of_the_first_ten_ranks_and_the_eleventh() -> None:
    rank = torch.arange(1, 12)
    expected = [1.0, 0.6309, 0.5, 0.4307, 0.3869, 0.3562, 0.3333, 0.3155, 0.3010, 0.2891, 0.0]
    assert [round(x, 4) for x in ndcg(rank).tolist()] == expected


def test_full_softmax_loss_and_its_gradients_equal_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(600, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    items = torch.randn(21, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, 21, (600,), generator=generator)
    weights = torch.rand(600, generator=generator, dtype=torch.float64)
    ours = full_softmax_loss(states, items, targets, weights) + full_softmax_loss(states, items, targets)
    got = torch.autograd.grad(ours, (states, items))
    each = torch.nn.functional.cross_entropy(states @ items[1:].T, targets - 1, reduction="none")
    plain = (each * weights).sum() + each.mean()
    torch.testing.assert_close(ours, plain)
    for mine, theirs in zip(got, torch.autograd.grad(plain, (states, items)), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert got[1][0].abs().sum() == 0  # padding is no candidate
