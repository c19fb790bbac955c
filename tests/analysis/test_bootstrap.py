"""The bootstrap: against SciPy's, against numbers worked out by hand, and what it must not depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm, t

from analysis import stats
from analysis.stats import interval, p_value, paired, ratios
from tests.support.properties import FEW

DEVICES, MANY = 60, 10**9


def sample(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gains of two methods over devices that move together, and the events of each."""
    rng = np.random.default_rng(seed)
    events = rng.integers(1, 40, DEVICES).astype(float)
    first = events * np.clip(rng.normal(0.2, 0.1, DEVICES), 0, 1)
    return first, first + events * rng.normal(0.02, 0.05, DEVICES), events


def test_the_interval_is_scipys_to_the_noise_of_the_draws() -> None:
    first, second, events = sample()

    def difference(one: np.ndarray, other: np.ndarray, count: np.ndarray, axis: int) -> np.ndarray:
        return other.sum(axis) / count.sum(axis) - one.sum(axis) / count.sum(axis)

    expanded = 1 - 2 * float(norm.cdf(t.ppf(0.025, DEVICES - 1) * np.sqrt(DEVICES / (DEVICES - 1))))
    theirs = bootstrap(
        (first, second, events),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        confidence_level=expanded,
        random_state=np.random.default_rng(1),
    )
    ours = paired((first, second), (events, events), replicates=20_000)
    assert ours.delta == pytest.approx(second.sum() / events.sum() - first.sum() / events.sum())
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)
    assert ratios(first[:, None], events[:, None], 20_000).std(ddof=1) == pytest.approx(
        bootstrap(
            (first, events),
            lambda a, b, axis: a.sum(axis) / b.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=20_000,
            method="percentile",
            random_state=np.random.default_rng(2),
        ).standard_error,
        rel=0.03,
    )


def test_the_bounds_are_percentiles_of_what_is_known() -> None:
    drawn = np.column_stack([np.arange(101.0), np.full(101, np.nan), np.r_[np.full(60, np.nan), np.arange(41.0)]])
    low, high = interval(drawn, devices=MANY)
    np.testing.assert_allclose(low, [2.5, np.nan, 1.0])
    np.testing.assert_allclose(high, [97.5, np.nan, 39.0])
    assert np.isnan(interval(drawn, devices=5)).all()  # five agree by chance in more than one of 20 cases
    assert np.isfinite(interval(drawn[:, :1], devices=6)).all()


@pytest.mark.parametrize("devices", [6, 10, 60])
def test_few_devices_have_the_interval_and_the_p_value_of_students_t(devices: int) -> None:
    """Of draws as a normal sample with the standard error 1 gives them, whose spread is that of the sample itself."""
    spread = np.sqrt((devices - 1) / devices)
    drawn = spread * norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    theirs = t.ppf(0.975, devices - 1)
    low, high = interval(drawn[:, None], devices)
    assert [low[0], high[0]] == pytest.approx([-theirs, theirs], rel=0.01)
    for level in (0.05, 0.3):
        assert p_value(drawn + t.ppf(1 - level / 2, devices - 1), devices) == pytest.approx(level, rel=0.02)


def test_every_draw_holds_as_many_devices_as_there_are() -> None:
    """Of devices numbered by powers of ten, of which three are drawn, the digits of a sum count the draws."""
    powers = 10.0 ** np.arange(3)[:, None]
    sums = ratios(powers, np.full((3, 1), 1 / 3), replicates=4000)[:, 0]  # three draws: the denominators add up to 1
    digits = (np.round(sums)[:, None] // 10 ** np.arange(3)) % 10
    assert (digits.sum(axis=1) == 3).all()
    counts = np.bincount(digits.astype(int)[:, 0], minlength=4) / 4000
    np.testing.assert_allclose(counts, [8 / 27, 12 / 27, 6 / 27, 1 / 27], atol=0.03)  # binomial: 3 draws of 1/3


def test_a_draw_with_nothing_in_it_gives_no_number() -> None:
    found = ratios(np.array([[1.0], [0.0]]), np.array([[2.0], [0.0]]), replicates=200)[:, 0]
    assert set(found[np.isfinite(found)].tolist()) == {0.5}
    assert 20 < np.isnan(found).sum() < 80  # a quarter of the draws takes the second device twice


def test_the_size_of_a_chunk_changes_only_which_draws_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, events = sample()
    whole = paired((first, second), (events, events))
    monkeypatch.setattr(stats, "_CELLS", 7 * DEVICES)
    chunked = paired((first, second), (events, events))
    assert len(ratios(first[:, None], events[:, None], 100)) == 100
    assert chunked.low == pytest.approx(whole.low, abs=0.1 * (whole.high - whole.low))
    assert chunked.high == pytest.approx(whole.high, abs=0.1 * (whole.high - whole.low))


@pytest.mark.parametrize(
    ("cells", "devices", "rows"),
    [(25, 10, [2, 2, 2, 2, 1]), (5, 10, [1] * 9), (5, 1, [5, 4]), (100, 10, [9])],
)
def test_a_chunk_holds_no_more_cells_than_memory_is_meant_for(
    cells: int, devices: int, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One replicate at least, even where that is larger."""
    monkeypatch.setattr(stats, "_CELLS", cells)
    assert [chunk.shape for chunk in stats._draws(devices, 9)] == [(count, devices) for count in rows]


def test_the_same_rows_give_the_same_interval_everywhere() -> None:
    first, second, events = sample()
    found = paired((first, second), (events, events), replicates=200)
    assert [found.low, found.high] == pytest.approx([0.008440400142, 0.036281404177], abs=1e-9)


def test_gains_without_events_are_no_ratio() -> None:
    assert np.isnan(ratios(np.ones((2, 1)), np.zeros((2, 1)), replicates=5)).all()


@FEW
@given(seed=st.integers(0, 50), more=st.floats(-0.5, 0.5), scale=st.floats(0.5, 8))
def test_a_constant_difference_has_no_spread_and_units_do_not_matter(seed: int, more: float, scale: float) -> None:
    first, second, events = sample(seed)
    constant = paired((first, first + more * events), (events, events), replicates=50)
    assert [constant.delta, constant.low, constant.high] == pytest.approx([more] * 3, abs=1e-9)
    one = paired((first, second), (events, events), replicates=50)
    scaled = paired((scale * first, scale * second), (events, events), replicates=50)
    assert [scaled.delta, scaled.low, scaled.high] == pytest.approx([scale * x for x in (one.delta, one.low, one.high)])
    back = paired((second, first), (events, events), replicates=50)
    assert [back.delta, back.low, back.high, back.p] == pytest.approx([-one.delta, -one.high, -one.low, one.p])


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0] * 9, 2 * 1 / 10),
        ([-1.0] * 9, 2 * 1 / 10),
        ([1.0] * 8 + [0.0], 2 * 2 / 10),  # zero lies on both sides
        ([0.0] * 9, 1.0),
        ([1.0, -1.0], 1.0),
        ([1.0] * 9 + [np.nan, np.inf], 2 * 1 / 10),
    ],
)
def test_p_values_by_hand(differences: list[float], expected: float) -> None:
    assert p_value(np.array(differences), MANY) == pytest.approx(expected)
    assert np.isnan(p_value(np.array(differences), 5))


def test_there_is_no_p_value_of_nothing() -> None:
    assert np.isnan(p_value(np.array([np.nan]), MANY))
    nobody = paired((np.zeros(0), np.zeros(0)), (np.zeros(0), np.zeros(0)))
    assert np.isnan([nobody.delta, nobody.low, nobody.high, nobody.p]).all()
    silent = paired((np.zeros(2), np.ones(2)), (np.zeros(2), np.ones(2)))
    assert np.isnan(silent.delta)
    alone = paired((np.ones(1), np.full(1, 3.0)), (np.full(1, 4.0), np.full(1, 4.0)))
    assert alone.delta == 0.5
    assert np.isnan([alone.low, alone.high, alone.p]).all()


def test_a_ratio_needs_something_below_it_and_an_interval_six_devices() -> None:
    ones, nothing, halves = np.ones(6), np.zeros(6), np.full(6, 0.5)
    assert np.isnan(paired((ones, ones), (nothing, ones)).delta)
    assert np.isnan(paired((ones, ones), (ones, nothing)).delta)
    levels = np.linspace(0, 0.25, 6)
    found = paired((levels, levels + 0.25), (halves, halves))
    assert [found.delta, found.low, found.high] == pytest.approx([0.5] * 3)
    five = paired((levels[1:], levels[1:] + 0.25), (halves[1:], halves[1:]))
    assert five.delta == pytest.approx(0.5)
    assert np.isnan([five.low, five.high, five.p]).all()


def test_as_many_draws_are_made_as_are_asked_for() -> None:
    ones = np.ones(300)
    assert paired((0 * ones, ones), (ones, ones), replicates=9).p == pytest.approx(2 / 10, rel=0.01)
    assert paired((0 * ones, ones), (ones, ones)).p == pytest.approx(2 / 2001, rel=0.15)
