"""What a target is spread over: counts by hand, and the places that they are taken from."""

import numpy as np
import pytest
import torch

from strategies.training.data import TrainingSet
from strategies.training.followers import KEPT, POPULARITY_POWER, SHARPNESS, Followers
from strategies.training.windows import WindowCutter


def histories(*items: list[int], num_items: int) -> TrainingSet:
    offsets = np.cumsum([0, *(len(one) for one in items)])
    return TrainingSet(offsets, np.concatenate(items).astype(np.int32), np.ones(len(items), dtype=np.int64), num_items)


def test_followers_of_two_short_histories_by_hand() -> None:
    """1 is followed by 2 (next), 3 (two later) and 2 again (next, in the other history); 4 is followed by nothing."""
    found = Followers.of(histories([1, 2, 3], [1, 2, 4], num_items=5), 0.3)
    row = {2: 2.0, 3: 0.5, 4: 0.5}
    total, often = sum(row.values()), {2: 2, 3: 1, 4: 1}
    wanted = {i: (n / total**0.5 / often[i] ** POPULARITY_POWER) ** SHARPNESS for i, n in row.items()}
    assert found.items[1, :4].tolist() == [2, 3, 4, 0]
    assert found.weights[1, :3].tolist() == pytest.approx(list(wanted.values()))
    for empty in (0, 3, 4, 5):
        assert not found.items[empty].any()
        assert not found.weights[empty].any()


def test_the_best_followers_are_kept() -> None:
    several = [[1, *([i] * 3 if i % 2 else [i])] for i in range(2, 2 + 2 * KEPT)]
    found = Followers.of(histories(*several, num_items=2 * KEPT + 1), 0.3)
    assert set(found.items[1].tolist()) == {i for i in range(2, 2 + 2 * KEPT) if i % 2}


def test_a_target_is_spread_over_the_followers_of_the_three_items_before_it() -> None:
    found = Followers.of(histories([1, 2, 3, 4, 5], num_items=5), 0.3)
    windows = torch.tensor([[0, 1, 2, 3], [2, 3, 4, 1]])
    bears = torch.tensor([[False, True, False, True], [True, False, False, False]])
    spread = found.spread(windows, bears)
    for row, latest in enumerate([[1, 0, 0], [3, 2, 1], [2, 0, 0]]):
        wanted = [
            (int(i), float(w) / age**SHARPNESS)
            for age, x in enumerate(latest, 1)
            for i, w in zip(found.items[x], found.weights[x], strict=True)
        ]
        assert spread.items[row].tolist() == [i for i, _ in wanted]
        assert spread.weights[row].tolist() == pytest.approx([w for _, w in wanted])


def test_followers_of_a_group_are_those_of_its_users_alone() -> None:
    """Users 0 and 2 go up, user 1 goes down: each group's rows are those of a data set of its own."""
    up, down = [[1, 2, 3, 4], [2, 3, 5]], [[4, 3, 2, 1]]
    data = histories(up[0], down[0], up[1], num_items=5)
    found = Followers.of(data, 0.3, np.array([1, 0, 1]))
    apart = [Followers.of(histories(*some, num_items=5), 0.3) for some in (down, up)]
    assert torch.equal(found.items, torch.cat([one.items for one in apart]))
    assert torch.equal(found.weights, torch.cat([one.weights for one in apart]))
    windows, bears = torch.tensor([[1, 2, 3], [4, 3, 2]]), torch.tensor([[False, True, True], [False, False, True]])
    spread = found.spread(windows, bears, torch.tensor([2, 1]))
    for rows, one in ((slice(0, 1), apart[1]), (slice(1, 2), apart[0])):
        alone, mine = one.spread(windows[rows], bears[rows]), slice(0, 2) if rows.start == 0 else slice(2, 3)
        assert torch.equal(spread.items[mine], alone.items)
        assert torch.equal(spread.weights[mine], alone.weights)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_batches_know_their_share(share: float) -> None:
    data = histories([1, 2, 3, 4, 5], [2, 3, 1], num_items=5)
    cutter = WindowCutter(data, context=2, history_length=3, targets="session", batch=2, seed=0, spread=share)
    for batch in cutter.batches(1):
        spread = batch.part(slice(0, 1)).bearing[3]
        assert (spread is None) == (share == 0)
        assert spread is None or spread.share == share
