"""A split by time: one instant for all users, counted by hand; who qualifies; what the cloud learns from."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from sim.config import Config
from sim.data.facts import data_facts
from sim.data.interactions import Interactions, build_interactions
from sim.experiment import prepare
from sim.model_cache import training_set
from sim.world.drift import Drift, inject
from sim.world.streams import build_streams, eligible_users, split_instant
from tests.support.runs import write_csv

# Times in hours. Of 25 interactions 20 lie before hour 100, so that the quantile lies between the two sides.
TIMES = {
    "a": [1, 2, 3, 4, 5, 6, 100, 101, 150],  # qualifies: six before, three from then on
    "b": [1, 2, 3, 4, 5, 120],  # qualifies: five before, one after
    "c": [1, 2, 3, 160],  # three before
    "d": [1, 2, 3, 4, 5, 6],  # none after
}
INSTANT = 100 * 3600


def world() -> Interactions:
    rows = [(user, 10 * ord(user) + place, hour) for user, hours in TIMES.items() for place, hour in enumerate(hours)]
    items = sorted({row[1] for row in rows})
    return build_interactions(
        "hours",
        np.array([sorted(TIMES).index(row[0]) for row in rows]),
        np.array([items.index(row[1]) for row in rows]),
        np.array([3600 * row[2] for row in rows]),
        sorted(TIMES),
        [str(item) for item in items],
    )


def names(data: Interactions, items: np.ndarray) -> list[str]:
    """``a0`` is the first item of user a."""
    raw = [int(data.item_ids[item]) for item in items.tolist()]
    return [f"{chr(code // 10)}{code % 10}" for code in raw]


def test_the_instant_is_the_first_second_with_four_fifths_of_all_interactions_before_it() -> None:
    data = world()
    found = split_instant(data)
    assert (data.times < found).sum() == 20
    assert (data.times < 100 * 3600).sum() == 20
    assert 6 * 3600 < found <= INSTANT


def test_who_qualifies_and_what_is_live() -> None:
    data = world()
    able = eligible_users(data, instant=INSTANT)
    assert [data.user_ids[user] for user in able] == ["a", "b"]
    streams = build_streams(data, able, instant=INSTANT, session_gap_minutes=90)
    assert streams.live_start.tolist() == [6, 5]
    assert streams.session_starts.tolist() == [6, 8, 5]  # hours 100 and 101 are one session, 150 is another
    with pytest.raises(UserError, match="user d of hours: a device needs 5 interactions before"):
        build_streams(data, [0, 3], instant=INSTANT)


@pytest.mark.parametrize(
    ("users", "expected", "validation"),
    [
        ("simulated", ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3"], ["a5", "b4"]),
        (
            "all",
            ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3", "d0", "d1", "d2", "d3", "d4"],
            ["a5", "b4", "d5"],
        ),
    ],
)
def test_the_cloud_learns_from_what_lies_before(users: str, expected: list[str], validation: list[str]) -> None:
    data = world()
    streams = build_streams(data, eligible_users(data, instant=INSTANT), instant=INSTANT)
    config = Config(split="time", cloud_users=users)  # type: ignore[arg-type]
    found = training_set(data, streams, config, INSTANT)
    assert names(data, found.items) == expected
    assert names(data, found.validation) == validation
    assert (found.times < INSTANT).all()


@pytest.mark.parametrize("users", ["simulated", "all"])
def test_of_devices_the_cloud_learns_from_what_was_played(users: str) -> None:
    data = world()
    able = eligible_users(data, instant=INSTANT)
    drift = Drift("abrupt", "", "abrupt", share=1.0, severity=1.0)
    streams = inject(
        build_streams(data, able, instant=INSTANT, session_gap_minutes=90, sessions=1), data, drift, 0, INSTANT
    )
    later = training_set(data, streams, Config(split="time", cloud_users=users), 200 * 3600)  # type: ignore[arg-type]
    # a plays its first session, hours 100 and 101, with the only live event of its donor b; b plays the first of a.
    assert names(data, later.items[:12]) == ["a0", "a1", "a2", "a3", "a4", "a5", "b5", *(f"b{k}" for k in range(5))]
    assert names(data, later.validation[:2]) == ["b5", "a6"]


def test_the_facts_say_who_qualifies_and_what_lies_later() -> None:
    data = world()

    def facts(instant: int | None):  # type: ignore[no-untyped-def]
        able = eligible_users(data, instant=instant)
        streams = build_streams(data, able, instant=instant)
        config = Config(split="user" if instant is None else "time")
        training = training_set(data, streams, config, instant)
        return data_facts(
            data,
            streams,
            training.items,
            training.times,
            able=len(able),
            needed=5,
            ties="file",
            candidates="unseen",
            session_gap=30.0,
            session_length=10,
            instant=instant,
        )

    time = facts(INSTANT)
    assert (time.users_qualifying, time.users_without_history, time.users_without_future) == (2, 1, 1)
    assert (time.training_share_later, time.split_day) == (0.0, "1970-01-05")
    assert any("1 have fewer than 5 interactions before, 1 others none after" in line for line in time.lines())
    user = facts(None)
    assert (user.users_qualifying, user.users_without_history, user.users_without_future) == (3, 1, 0)
    # Live: a at 150, b at 120, d at 6. Training: seven of a (1 to 6 and 100), four of b, four of d (1 to 4 each).
    assert user.training_share_later == pytest.approx((0 + 0 + 1 / 15) / 3, abs=1e-6)


def test_all_events_of_a_run_lie_after_the_instant_and_all_of_its_training_before(tmp_path: Path) -> None:
    config = Config(dataset=str(write_csv(tmp_path / "tiny.csv")), devices=5, split="time", out=tmp_path / "run")
    _, world = prepare(config.absolute())
    instant = split_instant(world.interactions)
    assert world.training.times.max() < instant
    streams = world.streams
    place = np.arange(len(streams.items)) - np.repeat(streams.offsets[:-1], streams.lengths)
    live = place >= np.repeat(streams.live_start, streams.lengths)
    assert (streams.times[live] >= instant).all()
    assert (streams.times[~live] < instant).all()


def test_too_many_devices_and_what_does_not_go_together_are_one_line(tmp_path: Path) -> None:
    file = str(write_csv(tmp_path / "tiny.csv"))
    with pytest.raises(UserError, match="before 2001-09-09, where time is split, and one from then on"):
        prepare(Config(dataset=file, devices=15, split="time", out=tmp_path / "run").absolute())
    with pytest.raises(UserError, match="--split time divides streams"):
        Config(split="time", protocol="paper").check()
    with pytest.raises(UserError, match="--retrain needs the instants of --split time; give both"):
        Config(retrain=7.0).check()
    with pytest.raises(UserError, match="--retrain is 0"):
        Config(split="time", retrain=0.0).check()
