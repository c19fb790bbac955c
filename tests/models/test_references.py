"""References against rankings made item by item."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.candidates import seen_before
from models.references import READ, Cooccurrence, CooccurrenceByType, OwnFrequent, OwnRecent, Popular, latest
from strategies.references import (
    fit_cooccurrence,
    fit_cooccurrence_by_type,
    fit_popular,
    fit_recent_popular,
    popularity,
    validated,
)
from strategies.training.data import TrainingSet
from strategies.training.followers import GAP, next_item_counts
from strategies.training.learner import Recipe
from strategies.training.loop import cache_key


def training_set(histories: list[list[int]], validation: list[int], num_items: int) -> TrainingSet:
    items = np.array([item for one in histories for item in one], dtype=np.int64)
    offsets = np.cumsum([0, *(len(one) for one in histories)])
    return TrainingSet(offsets, items, np.array(validation), num_items, np.arange(len(items))[::-1].copy())


def some_histories(count: int, items: int) -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [rng.integers(1, items + 1, size=int(rng.integers(2, 70))).tolist() for _ in range(count)]


def test_counts_are_those_of_every_pair_within_the_gap() -> None:
    histories, expected = some_histories(9, 12), np.zeros((12, 12))
    for one in histories:
        for place, item in enumerate(one):
            for distance, other in enumerate(one[place + 1 : place + 1 + GAP], start=1):
                expected[item - 1, other - 1] += 1 / distance
    found = next_item_counts(training_set(histories, [1] * 9, 12)).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_cooccurrence_adds_the_rows_of_the_latest_items_each_by_its_age() -> None:
    data = training_set(some_histories(9, 12), [1] * 9, 12)
    fitted = fit_cooccurrence(data, "all")
    assert isinstance(fitted.reference, Cooccurrence)
    counts, power = next_item_counts(data).toarray(), fitted.chosen["popularity_power"]
    often = np.maximum(np.bincount(data.items, minlength=13)[1:], 1)
    table = counts / np.sqrt(np.maximum(counts.sum(1, keepdims=True), 1e-12)) / often**power
    pasts = [np.array([3]), np.array([4, 4, 7, 1] * 20)]
    expected = [
        sum(table[item - 1] / age for age, item in enumerate(past[::-1][:READ].tolist(), start=1)) for past in pasts
    ]
    past = seen_before(pasts, np.array([1, 80]))
    np.testing.assert_allclose(fitted.reference.scores(past), np.array(expected), rtol=1e-4)
    by_rows = fitted.reference._from_rows(*latest(past, READ))
    torch.testing.assert_close(by_rows, fitted.reference.scores(past), rtol=1e-4, atol=1e-6)
    nonzero = (table != 0).sum(1)
    assert fitted.reference.macs(past).tolist() == [
        nonzero[2],
        sum(nonzero[i - 1] for i in ([4, 4, 7, 1] * 20)[-READ:]),
    ]
    assert fitted.reference.weights == 2 * nonzero.sum() + 12


def test_validation_chooses_the_power() -> None:
    """After item 1 always come 2 and 3; 2 is everywhere else too, so only without its popularity 3 is ahead."""
    histories = [[1, 2, 3], [1, 2, 3]] + [[4, 2], [5, 2], [6, 2]] * 30 + [[4, 1], [5, 1]]
    data = training_set(histories, [4, 4, *[1] * 90, 3, 3], 6)
    chosen = fit_cooccurrence(data, "unseen")
    powers = {power: quality_with(data, power) for power in (0.0, chosen.chosen["popularity_power"])}
    assert powers[chosen.chosen["popularity_power"]] == pytest.approx(chosen.valid_ndcg)
    assert chosen.valid_ndcg > powers[0.0]


def quality_with(data: TrainingSet, power: float) -> float:
    counts = next_item_counts(data)
    table = counts.toarray() / np.sqrt(np.maximum(counts.toarray().sum(1, keepdims=True), 1e-12))
    table = table / np.maximum(np.bincount(data.items, minlength=data.num_items + 1)[1:], 1) ** power
    gains = []
    for user, wanted in enumerate(data.validation):
        past = data.items[data.offsets[user] : data.offsets[user + 1]]
        scores = sum(table[item - 1] / age for age, item in enumerate(past[::-1], start=1))
        others = [i for i in range(1, data.num_items + 1) if i not in past and i != wanted]
        rank = 1 + sum(scores[i - 1] >= scores[wanted - 1] for i in others)
        gains.append(1 / np.log2(1 + rank))
    return float(np.mean(gains))


def test_popular_and_recent_popular_by_hand() -> None:
    # Times run backwards: the first interactions of the list are the latest.
    data = training_set([[3, 3, 3], [1, 1, 1, 1, 2]], [3, 3], 3)
    assert fit_popular(data, "all").reference.popular.argsort(descending=True).tolist() == [0, 2, 1]
    recent = fit_recent_popular(data, "all")
    assert recent.reference.popular.argsort(descending=True).tolist() == [2, 0, 1]
    assert recent.valid_ndcg == 1.0


def test_own_references_by_hand() -> None:
    popular = popularity(np.array([1, 9, 5, 7, 3]))
    past = seen_before([np.array([5, 3, 5, 1, 3]), np.array([4])], np.array([5, 1]))
    for kind, first, second in (
        (OwnRecent, [3, 1, 5, 2, 4], [4, 2, 3, 5, 1]),
        (OwnFrequent, [3, 5, 1, 2, 4], [4, 2, 3, 5, 1]),
    ):
        reference = kind(5)
        reference.popular.copy_(popular)
        order = reference.scores(past).argsort(dim=1, descending=True) + 1
        assert order.tolist() == [first, second]


def test_validation_leaves_out_what_is_no_candidate() -> None:
    data = training_set([[1, 2], [3, 1]], [2, 2], 3)
    reference = Popular(3)
    reference.popular.copy_(torch.tensor([0.9, 0.5, 0.1]))
    assert validated(reference, data, "all") == pytest.approx(1 / np.log2(3))
    assert validated(reference, data, "unseen") == 1.0  # only the second user's: 2 alone is left


@pytest.mark.parametrize("counts", [True, False])
def test_the_key_of_a_counted_model_names_the_times_and_that_of_a_trained_one_does_not(counts: bool) -> None:
    data = training_set([[3, 3, 3], [1, 1, 1, 1, 2]], [3, 3], 3)
    later = replace(data, times=data.times[::-1].copy())
    keys = {cache_key("recent-popular", one, Recipe(), {}, 0, counts=counts) for one in (data, later)}
    assert len(keys) == (2 if counts else 1)


def two_types() -> TrainingSet:
    """Users of type 1 go up a ring of twelve items, users of type 2 down, and the last of three up and then down."""
    up = [[(start + step) % 12 + 1 for step in range(30)] for start in range(12)]
    down = [one[::-1] for one in up]
    both = [1, 2, 3, 4, 3, 2, 1]
    data = training_set([*up, *down, both], [*([one[-1] % 12 + 1 for one in up]), *([3] * 13)], 12)
    types = np.repeat([1, 2, 1, 2], [12 * 30, 12 * 30, 4, 3])
    return replace(data, types=types, validation_types=np.repeat([1, 2], [12, 13]), num_types=2)


def test_tables_by_type_are_those_of_each_types_histories_alone() -> None:
    data = two_types()
    assert data.types is not None
    fitted = fit_cooccurrence_by_type(data, "all")
    reference = fitted.reference
    assert isinstance(reference, CooccurrenceByType)
    power, past = fitted.chosen["popularity_power"], seen_before([np.array([4, 7, 9])], np.array([3]))
    for kind in (1, 2):
        pieces = [
            data.items[a:b][data.types[a:b] == kind].tolist()
            for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)
        ]
        alone = training_set(pieces, [1] * len(pieces), 12)
        counts = next_item_counts(alone).toarray()
        often = np.maximum(np.bincount(alone.items, minlength=13)[1:], 1)
        table = counts / np.sqrt(counts.sum(1, keepdims=True)) / often**power
        expected = table[8] + table[6] / 2 + table[3] / 3
        told = torch.tensor([kind])
        np.testing.assert_allclose(reference.scores(past, told)[0], expected, rtol=1e-5)
        recent, ages = latest(past, READ)
        np.testing.assert_allclose(reference._from_rows(reference.rows_of(recent, told), ages)[0], expected, rtol=1e-5)
        assert reference.macs(past, told).item() == (table[[8, 6, 3]] > 0).sum()
    assert reference.types == 2


def test_the_oracle_knows_the_next_item_where_one_table_for_all_does_not() -> None:
    """After item 5 type 1 goes on to 6 and type 2 to 4: counts for all put one of them first for both."""
    data = two_types()
    pasts = seen_before([np.array([5]), np.array([5])], np.array([1, 1]))
    told = fit_cooccurrence_by_type(data, "all").reference.scores(pasts, torch.tensor([1, 2]))
    assert (told.argmax(dim=1) + 1).tolist() == [6, 4]
    swapped = fit_cooccurrence_by_type(data, "all").reference.scores(pasts, torch.tensor([2, 1]))
    assert (swapped.argmax(dim=1) + 1).tolist() == [4, 6]
    one = fit_cooccurrence(data, "all").reference.scores(pasts)
    assert one[0].argmax() == one[1].argmax()
    assert fit_cooccurrence_by_type(data, "all").valid_ndcg > fit_cooccurrence(data, "all").valid_ndcg


def test_a_type_that_no_history_has_prefers_no_item() -> None:
    """The histories of a few devices may lack a type that a device's user changes to."""
    reference = fit_cooccurrence_by_type(replace(two_types(), num_types=3), "all").reference
    assert reference.types == 3
    pasts = seen_before([np.array([5])], np.array([1]))
    assert reference.scores(pasts, torch.tensor([3])).tolist() == [[0.0] * 12]
    known = fit_cooccurrence_by_type(two_types(), "all").reference
    torch.testing.assert_close(reference.scores(pasts, torch.tensor([1])), known.scores(pasts, torch.tensor([1])))


def test_the_key_of_a_counted_model_names_the_types() -> None:
    data = two_types()
    assert data.types is not None
    other = replace(data, types=3 - data.types)
    keys = {cache_key("cooccurrence-by-type", one, Recipe(), {}, 0, counts=True) for one in (data, other)}
    assert len(keys) == 2
