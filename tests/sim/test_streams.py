"""Streams: the split, sessions and phases, by hand and by property against a slow oracle."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.local_data import Storage
from core.errors import UserError
from sim.data.interactions import Interactions
from sim.world.streams import (
    Streams,
    build_streams,
    eligible_users,
    fingerprint,
    live_starts,
    save,
    session_phase,
    sessions_since_switch,
)


def make(times: list[list[int]], change_points: list[int] | None = None) -> Interactions:
    """User u's items are u * 100 + 1, u * 100 + 2, ...: each interaction can be told apart."""
    lengths = [len(sequence) for sequence in times]
    items = [user * 100 + row + 1 for user, length in enumerate(lengths) for row in range(length)]
    num_items = max(items)
    return Interactions(
        name="small",
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=np.array(items, dtype=np.int32),
        times=np.array([second for sequence in times for second in sequence], dtype=np.int64),
        user_ids=[f"user{user}" for user in range(len(times))],
        item_ids=["", *map(str, range(1, num_items + 1))],
        item_titles=["", *map(str, range(1, num_items + 1))],
        genre_names=[],
        genres=np.zeros((num_items + 1, 0), dtype=bool),
        change_points=np.array(change_points or [-1] * len(times), dtype=np.int64),
    )


MINUTE = 60
EVERY_MINUTE = [MINUTE * row for row in range(25)]  # live: rows 20..24
# 15 interactions, live 12..14: a pause of exactly 30 minutes, then one of 30 minutes and a second.
WITH_PAUSES = [*range(12), 1000, 1000 + 1800, 1000 + 1800 + 1801]


def test_split_and_sessions_by_hand() -> None:
    built = build_streams(make([EVERY_MINUTE, WITH_PAUSES, [0] * 9]), [1, 0, 2], session_length=2)
    assert built.users.tolist() == [1, 0, 2]
    assert built.offsets.tolist() == [0, 15, 40, 49]
    assert built.live_start.tolist() == [12, 20, 8]  # 9 interactions: floor(1.8) = 1 is live
    assert built.items[:3].tolist() == [101, 102, 103]
    assert built.items[[15, 40]].tolist() == [1, 201]
    assert built.times[14] == 4601
    assert built.session_offsets.tolist() == [0, 2, 5, 6]
    # Device 0: a pause of exactly the gap does not close a session. Device 1: by length, 2 + 2 + 1.
    assert built.session_starts.tolist() == [12, 14, 20, 22, 24, 8]
    assert built.session_ends.tolist() == [14, 15, 22, 24, 25, 9]
    assert built.session_devices.tolist() == [0, 0, 1, 1, 1, 2]
    assert (built.num_devices, built.num_sessions, built.num_events) == (3, 6, 9)
    assert built.items.dtype == np.int32
    assert {getattr(built, name).dtype for name in ("users", "offsets", "live_start", "session_starts")} == {
        np.dtype(np.int64)
    }


def test_a_session_has_ten_events_and_no_pause_above_half_an_hour_unless_told_otherwise() -> None:
    eleven = [[0] * 44 + [60 * row for row in range(11)]]
    assert build_streams(make(eleven), [0]).session_starts.tolist() == [44, 54]
    assert build_streams(make([WITH_PAUSES]), [0]).session_starts.tolist() == [12, 14]
    assert live_starts(make([EVERY_MINUTE, [0] * 9]), np.array([1, 0])).tolist() == [8, 20]


def test_change_points_become_ends_and_switches() -> None:
    """A change at the first interaction, none, and one at the fourth."""
    built = build_streams(make([EVERY_MINUTE] * 3, [0, -1, 3]), [0, 1, 2])
    assert built.change_points.tolist() == [0, -1, 3]
    assert built.change_ends.tolist() == [1, -1, 4]
    assert built.switch_offsets.tolist() == [0, 1, 1, 2]
    assert built.switches.tolist() == [0, 3]
    since = sessions_since_switch(build_streams(make([EVERY_MINUTE] * 2, [21, -1]), [0, 1], session_length=1))
    assert since.tolist() == [-1, -1, 0, 1, 2] + [-1] * 5  # the change is seen by the session after it


def test_repeats_are_counted_by_session() -> None:
    data = make([EVERY_MINUTE[:10], EVERY_MINUTE])
    items = np.array(data.items)
    items[8] = items[2]  # user 0, live row 8: met in the history; row 9 is new
    items[10 + 21], items[10 + 24] = (
        items[10 + 20],
        items[10],
    )  # user 1: the second and the last live row
    built = build_streams(replace(data, items=items), [0, 1], session_length=2)
    assert built.session_starts.tolist() == [8, 20, 22, 24]
    assert built.session_repeats.tolist() == [1, 1, 0, 1]


def test_the_fingerprint_is_that_of_every_number_and_of_its_place() -> None:
    built = build_streams(make([EVERY_MINUTE, [0] * 9]), [0, 1])
    same = build_streams(make([EVERY_MINUTE, [0] * 9]), [0, 1])
    assert fingerprint(built) == fingerprint(same)
    assert len(fingerprint(built)) == 16
    later = np.array(built.times)
    later[7] += 1
    # The same bytes in a row, but the second user is the first offset.
    moved = replace(built, users=built.users[:1], offsets=np.concatenate((built.users[1:], built.offsets)))
    assert len({fingerprint(one) for one in (built, replace(built, times=later), moved)}) == 3


def test_the_length_counts_from_the_last_pause() -> None:
    live = [0, 1, 2, 9000, 9001, 9002, 9003, 9004, 9005, 9006]
    built = build_streams(make([[0] * 40 + live]), [0], session_length=3)
    assert built.session_starts.tolist() == [40, 43, 46, 49]
    by_count = build_streams(make([[0] * 40 + live]), [0], session_length=4, session_gap_minutes=math.inf)
    assert by_count.session_starts.tolist() == [40, 44, 48]


def test_capped_sessions_cut_the_live_stream_off() -> None:
    data = make([EVERY_MINUTE, [0] * 9])
    built = build_streams(data, [0, 1], session_length=2, sessions=2)
    assert built.session_starts.tolist() == [20, 22, 8]
    assert built.session_ends.tolist() == [22, 24, 9]
    assert built.lengths.tolist() == [24, 9]
    assert built.items[built.offsets[1]] == 101


def test_paper_protocol_tests_on_the_last_item() -> None:
    data = make([EVERY_MINUTE, [0] * 3])
    built = build_streams(data, [0, 1], protocol="paper")
    assert built.live_start.tolist() == [24, 2]
    assert built.session_starts.tolist() == [24, 2]
    assert built.session_ends.tolist() == [25, 3]
    assert built.items[built.offsets[:-1] + built.live_start].tolist() == [25, 103]


def test_users_too_short_to_be_a_device() -> None:
    data = make([[0] * 5, [0] * 4, [0] * 2, [0] * 3])
    assert eligible_users(data).tolist() == [0]
    assert eligible_users(data, "paper").tolist() == [0, 1, 3]
    assert build_streams(data, [0]).live_start.tolist() == [4]
    with pytest.raises(UserError, match=r"user user1 of small has 4 interactions; a device needs at least 5"):
        build_streams(data, [0, 1])
    with pytest.raises(UserError, match="at least 3 under protocol paper"):
        build_streams(data, [2], protocol="paper")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"session_length": 0}, "session length 0"),
        ({"session_gap_minutes": 0}, "session gap 0 minutes"),
        ({"session_gap_minutes": -1.5}, "session gap -1.5 minutes"),
        ({"session_gap_minutes": math.nan}, "session gap nan"),
        ({"sessions": 0}, "0 sessions"),
        ({"protocol": "papers"}, "unknown protocol 'papers'; did you mean 'paper'"),
        ({"users": []}, "no user to play"),
    ],
)
def test_bad_options(options: dict, complaint: str) -> None:
    arguments = {"users": [0], **options}
    with pytest.raises(UserError, match=complaint):
        build_streams(make([EVERY_MINUTE]), arguments.pop("users"), **arguments)


@pytest.mark.parametrize(
    ("change_point", "phases"),
    [
        (-1, ["stationary"] * 3),
        (19, ["stationary"] * 3),  # the validation item: nothing changes in what is played
        (20, ["during", "after", "after"]),
        (21, ["during", "after", "after"]),
        (22, ["before", "during", "after"]),
        (24, ["before", "before", "during"]),
        (25, ["stationary"] * 3),
    ],
)
def test_phases_around_a_change_point(change_point: int, phases: list[str]) -> None:
    built = build_streams(make([EVERY_MINUTE], [change_point]), [0], session_length=2)
    assert built.session_starts.tolist() == [20, 22, 24]
    assert session_phase(built).tolist() == phases


def test_a_change_point_after_the_last_session_played_is_none() -> None:
    data = make([EVERY_MINUTE, EVERY_MINUTE], [23, 21])
    built = build_streams(data, [1, 0], session_length=2, sessions=1)
    assert built.change_points.tolist() == [21, 23]
    assert session_phase(built).tolist() == ["during", "stationary"]


def test_devices_find_the_saved_streams_on_their_disk_memory_mapped(tmp_path: Path) -> None:
    built = build_streams(make([EVERY_MINUTE, WITH_PAUSES], [22, -1]), [1, 0], session_length=2)
    save(built, tmp_path / "a" / "world")
    storage = Storage(tmp_path / "a" / "world")
    assert isinstance(storage.items, np.memmap)
    assert storage.before(0, 1).tolist() == list(range(101, 115))
    assert [storage.during(1, session).tolist() for session in range(3)] == [[21, 22], [23, 24], [25]]
    for name in set(Streams.__dataclass_fields__) - {"types"}:  # only oracles are told those, and not on the disk
        again = np.load(tmp_path / "a" / "world" / f"{name}.npy")
        np.testing.assert_array_equal(again, getattr(built, name))
        assert again.dtype == getattr(built, name).dtype


def slow_sessions(times: list[int], live_start: int, length: int, gap: float) -> list[list[int]]:
    """Sessions as lists of relative indices, one event after the other."""
    sessions: list[list[int]] = []
    for row in range(live_start, len(times)):
        is_first = row == live_start
        if is_first or times[row] - times[row - 1] > gap * 60 or len(sessions[-1]) == length:
            sessions.append([])
        sessions[-1].append(row)
    return sessions


sequences = st.lists(st.sampled_from([0, 1, 59, 60, 61, 600, 10**6]), min_size=5, max_size=60).map(
    lambda pauses: np.cumsum(pauses).tolist()
)


@given(
    times=st.lists(sequences, min_size=1, max_size=6),
    length=st.integers(1, 12),
    gap=st.sampled_from([1 / 60, 1.0, 10.0, math.inf]),
    cap=st.none() | st.integers(1, 4),
    protocol=st.sampled_from(["stream", "paper"]),
    data=st.data(),
)
def test_streams_partition_each_sequence(times, length, gap, cap, protocol, data) -> None:  # type: ignore[no-untyped-def]
    interactions = make(times)
    users = data.draw(st.permutations(range(len(times))))
    users = users[: data.draw(st.integers(1, len(users)))]
    built = build_streams(
        interactions, users, protocol=protocol, session_length=length, session_gap_minutes=gap, sessions=cap
    )
    for device, user in enumerate(users):
        n = len(times[user])
        live_start = n - (max(1, math.floor(n / 5)) if protocol == "stream" else 1)
        expected = slow_sessions(times[user], live_start, length, gap)[:cap]
        played = expected[-1][-1] + 1

        rows = slice(built.offsets[device], built.offsets[device + 1])
        assert built.items[rows].tolist() == [user * 100 + row + 1 for row in range(played)]
        assert built.times[rows].tolist() == times[user][:played]
        assert built.live_start[device] == live_start
        assert live_start - 1 >= 1  # at least one item of history before the validation item

        mine = slice(built.session_offsets[device], built.session_offsets[device + 1])
        sessions = [
            list(range(start, end))
            for start, end in zip(built.session_starts[mine], built.session_ends[mine], strict=True)
        ]
        assert sessions == expected
        # Every live event that is played is in exactly one session, and no other event is in any.
        assert [row for session in sessions for row in session] == list(range(live_start, played))
        assert cap is not None or played == n
    assert built.num_events == sum(built.session_ends - built.session_starts)
    assert built.session_devices.tolist() == sorted(built.session_devices)


def test_a_million_interactions_take_less_than_two_seconds() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(20, 312, size=6040)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    size = int(offsets[-1])
    data = Interactions(
        name="large",
        offsets=offsets,
        items=generator.integers(1, 3001, size=size).astype(np.int32),
        times=np.sort(generator.integers(0, 10**9, size=size)),
        user_ids=[str(user) for user in range(6040)],
        item_ids=[""],
        item_titles=[""],
        genre_names=[],
        genres=np.zeros((1, 0), dtype=bool),
        change_points=np.full(6040, -1),
    )
    start = time.process_time()
    built = build_streams(data, eligible_users(data))
    session_phase(built)
    assert time.process_time() - start < 2
    assert built.num_events == (lengths // 5).sum()
