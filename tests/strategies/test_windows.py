"""Training windows: every target exactly once, nothing seen that comes later, validation kept apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.training.data import TrainingSet
from strategies.training.windows import Batch, WindowCutter


def dataset(lengths: list[int]) -> TrainingSet:
    """User u's items are 1000 u + 1, 1000 u + 2, ...: an item tells whose it is and where it stands."""
    items = [np.arange(1, n + 1) + 1000 * u for u, n in enumerate(lengths)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    validation = np.array([1000 * u + n + 1 for u, n in enumerate(lengths)])
    return TrainingSet(offsets, np.concatenate(items).astype(np.int32), validation, 1000 * len(lengths) + 500)


def cutter(data: TrainingSet, targets: str = "session", context: int = 4, memory: int = 6) -> WindowCutter:
    return WindowCutter(data, context=context, history_length=memory, targets=targets, batch=8, seed=3)


def rows(batches: list[Batch]) -> list[tuple[list[int], list[int], list[int]]]:
    out = []
    for batch in batches:
        for w, t, h, n in zip(batch.windows, batch.targets, batch.history, batch.lengths, strict=True):
            out.append((w.tolist(), t.tolist(), h[: int(n)].tolist()))
            assert h[int(n) :].sum() == 0
    return out


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(1, 5),
    st.sampled_from(["session", "last"]),
    st.integers(1, 7),
)
def test_every_next_item_is_a_target_once_and_follows_what_is_seen(
    lengths: list[int], context: int, targets: str, memory: int
) -> None:
    data = dataset(lengths)
    found: list[int] = []
    for window, target, history in rows(list(cutter(data, targets, context, memory).batches(epoch=2))):
        for seen, wanted in zip(window, target, strict=True):
            assert wanted == 0 or seen == wanted - 1  # the target is the next item of the same user
        real = [t for t in target if t]
        found += real
        # the extractors end with the item before the first target, and see only this user
        end = min(real) - 1
        assert history == list(range(end - len(history) + 1, end + 1))
        assert len(history) == min(memory, end % 1000)
    expected = [1000 * u + i for u, n in enumerate(lengths) for i in range(2, n + 1)]
    assert sorted(found) == expected
    assert len(expected) == data.targets


def test_windows_differ_between_epochs_and_repeat_for_the_same_epoch() -> None:
    data = dataset([40, 40, 40])
    cut = cutter(data)
    once, again, other = (rows(list(cut.batches(epoch))) for epoch in (1, 1, 2))
    assert once == again
    assert sorted(once) != sorted(other)


def test_a_window_of_the_papers_protocol_has_one_target_at_its_end() -> None:
    for window, target, history in rows(list(cutter(dataset([9]), "last", context=3, memory=3).batches(1))):
        assert target[:-1] == [0, 0]
        assert [i for i in window if i] == history


def test_validation_sees_the_whole_history_and_predicts_the_held_out_item() -> None:
    data = dataset([7, 2])
    [(batch, users)] = list(cutter(data).validation(10))
    assert users.tolist() == [0, 1]
    assert batch.windows.tolist() == [[4, 5, 6, 7], [0, 0, 1001, 1002]]
    assert batch.targets[:, -1].tolist() == [8, 1003]
    assert batch.history.tolist() == [[2, 3, 4, 5, 6, 7], [1001, 1002, 0, 0, 0, 0]]
    assert batch.lengths.tolist() == [6, 2]


@pytest.mark.parametrize("targets", ["session", "last"])
def test_a_user_with_one_item_gives_no_window(targets: str) -> None:
    assert rows(list(cutter(dataset([1]), targets).batches(1))) == []


@pytest.mark.parametrize("targets", ["session", "last"])
def test_unseen_targets_are_first_occurrences_and_know_the_whole_history_before_them(targets: str) -> None:
    rng = np.random.default_rng(3)
    histories = [rng.integers(1, 15, size=n) for n in (2, 30, 1, 17)]
    offsets = np.cumsum([0, *(len(one) for one in histories)])
    data = TrainingSet(offsets, np.concatenate(histories), np.array([14, 1, 3, 2]), 15)
    cutter = WindowCutter(data, context=4, history_length=6, targets=targets, batch=8, seed=3, candidates="unseen")
    found = []
    for batch in cutter.batches(1):
        bears, wanted, seen, _ = batch.bearing
        assert seen is not None
        for target, start, length in zip(wanted.tolist(), seen.starts.tolist(), seen.lengths.tolist(), strict=True):
            found.append((tuple(seen.items[start : start + length].tolist()), target))
        assert batch.part(slice(0, 2)).bearing[1].tolist() == wanted[: int(bears[:2].sum())].tolist()
    expected = [
        (tuple(one[:at].tolist()), int(one[at]))
        for one in histories
        for at in range(1, len(one))
        if one[at] not in one[:at]
    ]
    assert sorted(found) == sorted(expected)


def test_a_validation_item_that_repeats_is_no_target() -> None:
    data = TrainingSet(np.array([0, 3, 5]), np.array([1, 2, 3, 1, 2]), np.array([2, 3]), 3)
    cutter = WindowCutter(data, context=4, history_length=6, targets="session", batch=8, seed=3, candidates="unseen")
    ((batch, _),) = cutter.validation(8)
    assert batch.targets[:, -1].tolist() == [0, 3]
    assert batch.seen is not None
    assert batch.seen.lengths[:, -1].tolist() == [3, 2]
