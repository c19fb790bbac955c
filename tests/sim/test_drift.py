"""Injected drift: what changes, exactly where, and what stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from sim.data.interactions import Interactions
from sim.data.synthetic import Recipe, generate
from sim.world.donors import DonorPool
from sim.world.drift import Drift, inject, load_drift
from sim.world.streams import Streams, build_streams, session_phase, sessions_since_switch
from sim.world.tables import shipped

USERS, LENGTH, LIVE = 20, 50, 10
ONSET = 3


def two_tastes(genres: bool = True) -> Interactions:
    """Users 0..9 had items 1..50 only, users 10..19 items 51..100 only, one after the other."""
    items = np.concatenate([(np.arange(LENGTH) * 7 + u) % 50 + 1 + 50 * (u >= USERS // 2) for u in range(USERS)])
    table = np.zeros((101, 2), dtype=bool)
    table[1:51, 0] = table[51:, 1] = True
    return Interactions(
        name="two tastes",
        offsets=np.arange(USERS + 1) * LENGTH,
        items=items.astype(np.int32),
        times=np.tile(np.cumsum(np.where(np.arange(LENGTH) % 4 == 0, 4000, 60)), USERS),
        user_ids=[str(u) for u in range(USERS)],
        item_ids=["", *(str(i) for i in range(1, 101))],
        item_titles=["", *(str(i) for i in range(1, 101))],
        genre_names=["a", "b"] if genres else [],
        genres=table if genres else np.zeros((101, 0), dtype=bool),
        change_points=np.full(USERS, -1),
    )


def play(drift: Drift, data: Interactions | None = None) -> tuple[Streams, Streams]:
    """The natural streams and the drifted ones."""
    data = data or two_tastes()
    natural = build_streams(data, np.arange(USERS), session_length=4)
    return natural, inject(natural, data, drift, seed=5)


def live(streams: Streams, device: int) -> np.ndarray:
    start = int(streams.offsets[device] + streams.live_start[device])
    return streams.items[start : int(streams.offsets[device + 1])]


def foreign(streams: Streams, device: int) -> np.ndarray:
    """Which live items are from the other half of the catalogue."""
    return (live(streams, device) > 50) != (device >= USERS // 2)


ABRUPT = Drift("test", "", "abrupt", share=1.0, onset=(0.3, 0.3), severity=1.0)


@pytest.mark.parametrize("genres", [True, False])
def test_an_abrupt_drift_starts_at_its_onset_and_not_an_event_off(genres: bool) -> None:
    natural, drifted = play(ABRUPT, two_tastes(genres))
    for device in range(USERS):
        assert foreign(drifted, device).tolist() == [False] * ONSET + [True] * (LIVE - ONSET)
        assert live(drifted, device)[:ONSET].tolist() == live(natural, device)[:ONSET].tolist()
    assert (drifted.change_points == 40 + ONSET).all()
    assert (drifted.change_ends == 40 + ONSET + 1).all()
    assert drifted.switches.tolist() == [43] * USERS
    assert drifted.switch_offsets.tolist() == list(range(USERS + 1))


def test_donors_continue_in_their_own_order_with_events_no_model_has_seen() -> None:
    natural, drifted = play(ABRUPT)
    lives = [live(natural, device).tolist() for device in range(USERS)]
    donors = [live(drifted, device)[ONSET:].tolist() for device in range(USERS)]
    for donated in donors:
        assert any(candidate[: len(donated)] == donated for candidate in lives)
    assert len({tuple(donated) for donated in donors}) > 1


def test_history_validation_item_times_and_sessions_stay() -> None:
    natural, drifted = play(ABRUPT)
    for name in ("users", "offsets", "times", "live_start", "session_offsets", "session_starts"):
        assert (getattr(natural, name) == getattr(drifted, name)).all(), name
    for device in range(USERS):
        past = slice(int(natural.offsets[device]), int(natural.offsets[device] + natural.live_start[device]))
        assert (natural.items[past] == drifted.items[past]).all()


def test_drift_is_reproducible_and_a_device_does_not_depend_on_the_others() -> None:
    data = two_tastes()
    _, drifted = play(replace(ABRUPT, share=0.5, severity=0.5))
    few = build_streams(data, [3, 17], session_length=4)
    alone = inject(few, data, replace(ABRUPT, share=0.5, severity=0.5), seed=5)
    assert live(alone, 0).tolist() == live(drifted, 3).tolist()
    assert live(alone, 1).tolist() == live(drifted, 17).tolist()
    other = inject(few, data, replace(ABRUPT, severity=0.5), seed=6)
    assert (other.items != inject(few, data, replace(ABRUPT, severity=0.5), seed=5).items).any()


def test_recurring_alternates_every_period_and_own_events_are_only_postponed() -> None:
    natural, drifted = play(Drift("test", "", "recurring", 1.0, (0.2, 0.2), 1.0, period=3))
    for device in range(USERS):
        assert foreign(drifted, device).tolist() == [False] * 2 + [True] * 3 + [False] * 3 + [True] * 2
        own = live(drifted, device)[~foreign(drifted, device)]
        assert own.tolist() == live(natural, device)[:5].tolist()
    assert drifted.switches[:3].tolist() == [42, 45, 48]
    assert (drifted.change_points == 42).all()


def test_the_probability_of_a_gradual_drift_grows_linearly() -> None:
    drift = Drift("test", "", "gradual", 1.0, (0.2, 0.2), 0.8, transition=0.4)
    assert drift.probabilities(10, 2) == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8])
    _, drifted = play(drift)
    assert (drifted.change_points == 42).all()
    assert (drifted.change_ends == 46).all()
    shares = np.mean([foreign(drifted, device) for device in range(USERS)], axis=0)
    assert shares[:2].max() == 0
    assert shares[2] == 1  # the change point is where the donor is first met
    assert 0.6 < shares[5:].mean() < 0.95


def test_severity_is_the_share_of_foreign_events() -> None:
    _, drifted = play(replace(ABRUPT, onset=(0.0, 0.0), severity=0.3))
    after = np.concatenate([foreign(drifted, device)[1:] for device in range(USERS)])
    assert 0.2 < after.mean() < 0.4


def test_the_share_of_devices_is_affected_and_the_others_are_stationary() -> None:
    natural, drifted = play(replace(ABRUPT, share=0.5))
    changed = drifted.change_points >= 0
    assert 4 <= changed.sum() <= 16
    for device in np.flatnonzero(~changed):
        assert live(drifted, device).tolist() == live(natural, device).tolist()
    phases = session_phase(drifted)
    assert (set(phases[~changed[drifted.session_devices]])) == {"stationary"}


def test_phases_around_an_abrupt_and_a_gradual_change() -> None:
    # Sessions of the live stream 40..49 by the pauses before 40, 44 and 48: [40, 44), [44, 48), [48, 50).
    _, abrupt = play(ABRUPT)
    assert session_phase(abrupt)[:3].tolist() == ["during", "after", "after"]
    _, later = play(replace(ABRUPT, onset=(0.4, 0.4)))
    assert session_phase(later)[:3].tolist() == ["before", "during", "after"]
    _, gradual = play(Drift("test", "", "gradual", 1.0, (0.4, 0.4), 1.0, transition=0.4))
    assert session_phase(gradual)[:3].tolist() == ["before", "during", "after"]
    _, longer = play(Drift("test", "", "gradual", 1.0, (0.4, 0.4), 1.0, transition=0.5))
    assert session_phase(longer)[:3].tolist() == ["before", "during", "during"]


def test_an_oracle_counts_sessions_from_the_first_that_starts_after_the_change() -> None:
    _, abrupt = play(ABRUPT)  # change at 43, inside the first session
    assert sessions_since_switch(abrupt)[:3].tolist() == [-1, 0, 1]
    _, at_start = play(replace(ABRUPT, onset=(0.4, 0.4)))  # at 44, the first event of the second session
    assert sessions_since_switch(at_start)[:3].tolist() == [-1, -1, 0]
    _, just_before = play(replace(ABRUPT, onset=(0.39, 0.39)))
    assert sessions_since_switch(just_before)[:3].tolist() == [-1, 0, 1]
    _, gradual = play(Drift("test", "", "gradual", 1.0, (0.0, 0.0), 1.0, transition=0.5))  # 40 .. 45
    assert sessions_since_switch(gradual)[:3].tolist() == [-1, 0, 0]
    _, recurring = play(Drift("test", "", "recurring", 1.0, (0.0, 0.0), 1.0, period=6))  # 40 and 46
    assert sessions_since_switch(recurring)[:3].tolist() == [-1, 0, 0]


def test_a_device_with_a_change_of_its_own_keeps_its_stream() -> None:
    data = generate(1, Recipe(users=40))
    natural = build_streams(data, np.arange(40))
    drifted = inject(natural, data, ABRUPT, seed=0)
    own = natural.change_points >= 0
    assert (drifted.change_points[own] == natural.change_points[own]).all()
    assert (drifted.change_points[~own] >= 0).all()
    for device in np.flatnonzero(own):
        assert live(drifted, device).tolist() == live(natural, device).tolist()


def test_a_stream_longer_than_every_donors_goes_on_with_the_next() -> None:
    data = two_tastes()
    line = DonorPool(data, 0).events(0, data.items[:40], 15, np.random.default_rng(0))
    assert len(line) == 15
    assert (line > 50).all()


def test_five_drifts_are_shipped_and_natural_changes_nothing() -> None:
    assert shipped("drift") == ["abrupt", "abrupt-mild", "gradual", "natural", "recurring"]
    data = two_tastes()
    natural = build_streams(data, np.arange(USERS))
    assert inject(natural, data, load_drift("natural"), 0) is natural
    for name in shipped("drift"):
        assert load_drift(name).name == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind = 'sudden'", "unknown kind 'sudden'"),
        ("share = 0.5", "kind is missing"),
        ("kind = 'abrupt'\nshare = 1\nonset = 0.2", "severity is missing"),
        ("kind = 'abrupt'\nshare = 2\nonset = 0.2\nseverity = 1", "share is 2"),
        ("kind = 'abrupt'\nshare = 1\nonset = [0.5, 0.2]\nseverity = 1", "the earliest comes first"),
        ("kind = 'abrupt'\nshare = 1\nonset = 0.2\nseverity = 1\nperiod = 3", "unknown key 'period'"),
        ("kind = 'recurring'\nshare = 1\nonset = 0.2\nseverity = 1\nperiod = 0", "period is 0"),
        ("kind = ", "not valid TOML"),
        *(
            (f"kind = 'gradual'\nshare = {a}\nonset = {b}\nseverity = {c}\ntransition = {d}", f"{name} is {value}")
            for value in ("nan", "inf", "-inf")
            for name, a, b, c, d in (
                ("share", value, 0.5, 1, 0.5),
                ("onset", 1, value, 1, 0.5),
                ("severity", 1, 0.5, value, 0.5),
                ("transition", 1, 0.5, 1, value),
            )
        ),
        (f"kind = 'recurring'\nshare = 1\nonset = 0.2\nseverity = 1\nperiod = {10**30}", "a whole number from 1 to"),
        (f"kind = 'abrupt'\nshare = {'9' * 5000}\nonset = 0.2\nseverity = 1", "not valid TOML"),
    ],
)
def test_a_bad_drift_file_is_one_clear_line(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=why) as caught:
        load_drift(str(tmp_path / "mine.toml"))
    assert "\n" not in str(caught.value)


def test_nothing_drifts_in_single_events() -> None:
    data = two_tastes()
    with pytest.raises(UserError, match="single events"):
        inject(build_streams(data, [0, 1], protocol="paper"), data, ABRUPT, 0)
