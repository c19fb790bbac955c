"""Ranks, Hit@10 and NDCG@10 against a brute-force oracle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kernels.softmax_loss import full_softmax_loss
from models.metrics import HITS, NDCGS, best_items, hits, listed, measures, ndcg, ranks, sampled_ranks


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


def test_every_measure_of_a_few_ranks_by_hand() -> None:
    """Ranks on both sides of every cut-off, and an event that is no prediction."""
    found = {name: float(each.sum()) for name, each in measures(torch.tensor([1, 3, 5, 6, 10, 11, 20, 21, 0])).items()}
    log = math.log2
    five = 1 + 1 / 2 + 1 / log(6)
    ten = five + 1 / log(7) + 1 / log(11)
    assert found == pytest.approx(
        {
            **{"hits_1": 1, "hits_5": 3, "hits": 5, "hits_20": 7},
            **{"ndcg_5": five, "ndcg": ten, "ndcg_20": ten + 1 / log(12) + 1 / log(21)},
            "mrr": 1 + 1 / 3 + 1 / 5 + 1 / 6 + 1 / 10 + 1 / 11 + 1 / 20 + 1 / 21,
        }
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=12))
def test_all_cut_offs_measure_the_same_ranks(found: list[int]) -> None:
    each = measures(torch.tensor(found, dtype=torch.long))
    for cutoff in (1, 5, 10, 20):
        inside = [rank for rank in found if rank <= cutoff]
        assert each[HITS[cutoff]].tolist() == [float(rank <= cutoff) for rank in found]
        assert float(each[NDCGS[cutoff]].sum()) == pytest.approx(sum(math.log(2) / math.log(1 + r) for r in inside))
    assert float(each["mrr"].sum()) == pytest.approx(sum(1 / rank for rank in found))


def test_the_rank_among_sampled_candidates_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5], [1.0, 1.0, 0.0, NAN, 2.0], [NAN, 1.0, 2.0, 3.0, 4.0]])
    negatives = torch.tensor([[1, 2, 5], [2, 4, 3], [2, 0, 0]])
    # item 4 scores less than 1 and 2; item 1 has a tie and a NaN before it; a NaN is the last of two
    assert sampled_ranks(scores, torch.tensor([4, 1, 1]), negatives).tolist() == [3, 3, 2]
    assert sampled_ranks(scores, torch.tensor([4, 1, 1]), torch.zeros(3, 4, dtype=torch.long)).tolist() == [1, 1, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, NAN, -INF]), min_size=3, max_size=30), st.data())
def test_a_sample_of_all_candidates_gives_the_rank_among_all_and_a_part_no_later_one(
    scores: list[float], data: st.DataObject
) -> None:
    target = data.draw(st.integers(1, len(scores)))
    others = [item for item in range(1, len(scores) + 1) if item != target]
    part = data.draw(st.lists(st.sampled_from(others), unique=True))
    table, wanted = torch.tensor([scores]), torch.tensor([target])
    full = int(ranks(table, wanted))
    assert int(sampled_ranks(table, wanted, torch.tensor([others]))) == full
    assert int(sampled_ranks(table, wanted, torch.tensor([part], dtype=torch.long))) <= min(full, 1 + len(part))


def test_what_is_recommended_has_no_item_that_is_no_candidate() -> None:
    scores = torch.tensor([[3.0, -INF, 1.0, 2.0], [NAN, INF, 0.0, 1.0], [-INF, -INF, -INF, 5.0]])
    assert listed(scores, 3).tolist() == [[1, 4, 3], [4, 3, 0], [4, 0, 0]]
