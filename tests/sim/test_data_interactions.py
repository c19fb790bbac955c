"""Building Interactions from raw rows: filter, numbering, order."""

import dataclasses

import numpy as np
import pytest

from core.errors import UserError
from sim.data.interactions import Interactions, build_interactions


def build(rows: list[tuple[str, str, int]], **options: object) -> Interactions:
    users = sorted({user for user, _, _ in rows}, reverse=True)  # any order of the ids must do
    items = sorted({item for _, item, _ in rows}, reverse=True)
    return build_interactions(
        "small",
        np.array([users.index(user) for user, _, _ in rows]),
        np.array([items.index(item) for _, item, _ in rows]),
        np.array([time for _, _, time in rows]),
        users,
        items,
        **options,  # type: ignore[arg-type]
    )


def test_rows_are_sorted_by_time_and_ties_keep_their_order() -> None:
    data = build([("2", "30", 9), ("10", "4", 5), ("2", "4", 7), ("2", "100", 7), ("10", "30", 1)])
    assert data.user_ids == ["2", "10"]  # numeric order, not alphabetical
    assert data.item_ids == ["", "4", "30", "100"]
    assert data.offsets.tolist() == [0, 3, 5]
    assert data.items.tolist() == [1, 3, 2, 2, 1]
    assert data.times.tolist() == [7, 7, 9, 1, 5]
    assert data.change_points.tolist() == [-1, -1]
    assert (data.offsets.dtype, data.items.dtype, data.times.dtype) == (np.int64, np.int32, np.int64)


def test_ids_that_are_not_all_numbers_are_in_alphabetical_order() -> None:
    assert build([("9", "a", 1), ("10", "a", 2), ("x", "a", 3)]).user_ids == ["10", "9", "x"]


def test_numbers_written_differently_are_different_ids() -> None:
    assert build([("7", "a", 1), ("07", "a", 2), ("5", "a", 3)]).user_ids == ["5", "07", "7"]


def test_numbers_of_the_data_set() -> None:
    data = build([("a", "x", 1), ("a", "y", 2), ("a", "z", 3), ("b", "x", 1)])
    assert (data.num_users, data.num_items, data.num_interactions) == (2, 3, 4)
    assert data.mean_length == 2.0
    assert data.sparsity == pytest.approx(1 - 4 / 6)


def test_items_are_filtered_on_raw_rows_before_users() -> None:
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "z", 4), ("b", "z", 5)]
    kept = build(rows, items_with_more_than=1)  # y has exactly one: more than 1 drops it
    assert kept.item_ids == ["", "x", "z"]
    assert kept.user_ids == ["a", "b"]
    both = build(rows, items_with_more_than=1, users_with_at_least=2)  # a is left with one row, b with three
    assert both.user_ids == ["b"]
    assert both.items.tolist() == [1, 2, 2]  # x is left with one row: the filter is not repeated


def test_nothing_left_is_an_error_of_the_user() -> None:
    with pytest.raises(UserError, match="small: no interaction is left"):
        build([("a", "x", 1)], items_with_more_than=1)


def test_titles_and_genres_are_looked_up_by_raw_id() -> None:
    data = build(
        [("a", "7", 1), ("a", "8", 2), ("a", "9", 3)],
        titles={"7": "Heat", "9": "Alien", "12": "unused"},
        genres={"7": ["Drama", "Crime"], "9": ["Drama"], "12": ["Western"]},
    )
    assert data.item_titles == ["", "Heat", "8", "Alien"]
    assert data.genre_names == ["Crime", "Drama"]  # no Western: its only item does not occur
    assert data.genres.tolist() == [[False, False], [True, True], [False, False], [False, True]]


def test_digest_depends_on_every_field_but_the_name() -> None:
    data = build([("a", "x", 1), ("a", "y", 2), ("b", "x", 3)], genres={"x": ["G"]})
    assert dataclasses.replace(data, name="other").digest() == data.digest()
    changed = {
        "offsets": np.array([0, 1, 3]),
        "items": np.array([2, 1, 1], dtype=np.int32),
        "times": data.times + 1,
        "user_ids": ["a", "c"],
        "item_ids": ["", "x", "z"],
        "item_titles": ["", "X", "y"],
        "genre_names": ["H"],
        "genres": ~data.genres,
        "change_points": np.array([1, -1]),
    }
    digests = {
        dataclasses.replace(data, **{field: value}).digest()  # type: ignore[arg-type]
        for field, value in changed.items()
    }
    assert len(digests | {data.digest()}) == len(changed) + 1
