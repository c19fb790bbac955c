"""What is no candidate, against definitions that go item by item."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.candidates import Seen, draw_negatives, repeats, seen_before
from models.kernels.softmax_loss import Spread, distillation_loss, full_softmax_loss
from models.metrics import ranks


def ragged(rows: int, items: int) -> tuple[Seen, list[list[int]]]:
    """What each of so many predictions has seen: prefixes of three sequences."""
    rng = np.random.default_rng(rows)
    sequences = [rng.integers(1, items + 1, size=n) for n in (9, 0, 25)]
    owner = rng.integers(0, 3, size=rows)
    starts = np.array([0, 9, 9])[owner]
    lengths = np.array([int(rng.integers(0, len(sequences[o]) + 1)) for o in owner])
    known = [sequences[o][:n].tolist() for o, n in zip(owner, lengths, strict=True)]
    seen = Seen(torch.from_numpy(np.concatenate(sequences)), torch.from_numpy(starts), torch.from_numpy(lengths))
    return seen, known


def test_excluded_are_the_seen_items_of_each_row_and_no_others() -> None:
    seen, known = ragged(40, 12)
    scores = seen.exclude(torch.zeros(40, 12))
    for row, mine in zip(scores, known, strict=True):
        assert {i + 1 for i in range(12) if row[i] == float("-inf")} == set(mine)


def test_a_part_of_the_predictions_excludes_as_the_whole() -> None:
    seen, _ = ragged(40, 12)
    whole = seen.exclude(torch.zeros(40, 12))
    mask = torch.arange(40) % 3 == 0
    assert torch.equal(seen[7:19].exclude(torch.zeros(12, 12)), whole[7:19])
    assert torch.equal(seen[mask].exclude(torch.zeros(int(mask.sum()), 12)), whole[mask])


def test_the_loss_and_its_gradients_are_those_of_a_softmax_over_the_candidates() -> None:
    torch.manual_seed(0)
    seen, known = ragged(700, 50)
    states, items = torch.randn(700, 8, requires_grad=True), torch.randn(51, 8, requires_grad=True)
    targets = torch.tensor([next(i for i in range(1, 51) if i not in mine) for mine in known])
    expected = torch.stack(
        [
            F.cross_entropy(
                (state @ items[[i for i in range(1, 51) if i not in mine]].T).unsqueeze(0),
                torch.tensor([[i for i in range(1, 51) if i not in mine].index(int(target))]),
            )
            for state, mine, target in zip(states, known, targets, strict=True)
        ]
    ).mean()
    got = full_softmax_loss(states, items, targets, seen=seen)
    assert float(got) == pytest.approx(float(expected), rel=1e-5)
    mine, theirs = (torch.autograd.grad(loss, [states, items]) for loss in (got, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_part_of_each_target_lies_on_other_candidates() -> None:
    """Against the cross-entropy with whole distributions, row by row: some followers are seen, padding or named twice,
    some weigh nothing, and some rows have none left."""
    torch.manual_seed(0)
    seen, known = ragged(300, 50)
    states, items = torch.randn(300, 8, requires_grad=True), torch.randn(51, 8, requires_grad=True)
    targets = torch.tensor([next(i for i in range(1, 51) if i not in mine) for mine in known])
    spread = Spread(torch.randint(0, 51, (300, 6)), torch.rand(300, 6) * (torch.rand(300, 6) < 0.7), 0.3)
    spread.items[:20] = 0
    expected = torch.zeros(())
    for state, mine, target, others, weights in zip(
        states, known, targets.tolist(), spread.items.tolist(), spread.weights.tolist(), strict=True
    ):
        left = [i for i in range(1, 51) if i not in mine]
        wanted = dict.fromkeys(left, 0.0)
        able = [(item, weight) for item, weight in zip(others, weights, strict=True) if item in wanted]
        total = sum(weight for _, weight in able)
        wanted[target] += 0.7 if total else 1.0
        for item, weight in able:
            wanted[item] += 0.3 * weight / total if total else 0.0
        assert sum(wanted.values()) == pytest.approx(1)
        expected = expected - torch.tensor(list(wanted.values())) @ F.log_softmax(items[left] @ state, dim=0) / 300
    got = full_softmax_loss(states, items, targets, seen=seen, spread=spread)
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    mine, theirs = (torch.autograd.grad(loss, [states, items]) for loss in (got, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_distillation_compares_distributions_over_the_candidates() -> None:
    torch.manual_seed(0)
    seen, known = ragged(60, 20)
    states, items = torch.randn(60, 8, requires_grad=True), torch.randn(21, 8)
    teacher_states, teacher_items = torch.randn(60, 8), torch.randn(21, 8)
    total = torch.zeros(())
    for row, mine in enumerate(known):
        left = [i for i in range(1, 21) if i not in mine]
        student = F.log_softmax(states[row] @ items[left].T, dim=0)
        teacher = F.log_softmax(teacher_states[row] @ teacher_items[left].T, dim=0)
        total = total + (teacher.exp() * (teacher - student)).sum() / 60
    got = distillation_loss(states, items, teacher_states, teacher_items, seen)
    assert float(got) == pytest.approx(float(total), rel=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(x, states)[0] for x in (got, total)), rtol=1e-4, atol=1e-7)


def test_a_seen_item_takes_no_rank() -> None:
    seen = seen_before([np.array([1, 2, 3, 1])], np.array([[0, 2, 4]]))[0]
    scores = torch.tensor([[9.0, 8.0, 7.0, 6.0, 5.0]]).repeat(3, 1)
    assert ranks(seen.exclude(scores), torch.tensor([4, 4, 4])).tolist() == [4, 2, 1]


def test_repeats_are_found_within_each_sequence() -> None:
    items = np.array([5, 3, 5, 5, 3, 3, 5])
    assert repeats(np.array([0, 4, 4, 7]), items).tolist() == [False, False, True, True, False, True, False]
    assert repeats(np.array([0]), np.zeros(0, dtype=np.int64)).tolist() == []


def test_negatives_are_distinct_candidates_and_all_of_them_where_there_are_no_more() -> None:
    excluded = np.array([7, 1, 4, 1, 12])  # in any order, one of them twice
    left = [2, 3, 5, 6, 8, 9, 10, 11]
    for count in (8, 9, 100):
        assert draw_negatives(np.random.default_rng(0), count, 12, excluded).tolist() == left
    assert draw_negatives(np.random.default_rng(0), 5, 3, np.array([1, 2, 3])).tolist() == []
    for seed in range(50):
        drawn = draw_negatives(np.random.default_rng(seed), 5, 12, excluded).tolist()
        assert len(set(drawn)) == 5
        assert set(drawn) <= set(left)


def test_every_candidate_is_drawn_equally_often() -> None:
    rng, counts = np.random.default_rng(1), np.zeros(7)
    for _ in range(6000):
        counts[draw_negatives(rng, 2, 6, np.array([3]))] += 1
    assert counts[0] == counts[3] == 0
    assert np.abs(counts[[1, 2, 4, 5, 6]] / 6000 - 2 / 5).max() < 0.03  # 4.7 standard deviations
