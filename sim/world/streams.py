"""What the simulation plays: each device's history, validation item and live stream, cut into sessions."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from core import sealed
from core.errors import UserError, unknown
from models.candidates import repeats
from sim.data.interactions import Interactions

Protocol = Literal["stream", "paper"]

SHORTEST = {"stream": 5, "paper": 3}  # interactions of a device: one live, one for validation, history
_LIVE_PART = 5  # protocol stream: the last fifth is live
QUANTILE = 0.8  # split by time: as much before the instant as protocol stream leaves each device before its live part


@dataclass(frozen=True)
class Streams:
    """The sequences of D devices, one user each, concatenated: N interactions and S sessions in all.

    Indices into a sequence are relative to its device. History is [0, live_start - 1), the validation item is
    live_start - 1, the live stream is [live_start, length). Sessions cover the live stream without gap or
    overlap: each ends where the next one of its device starts, the last one at the end of the sequence.
    """

    users: np.ndarray  # (D,) int64 index into Interactions
    offsets: np.ndarray  # (D + 1,) int64: device d owns rows offsets[d]:offsets[d + 1]
    items: np.ndarray  # (N,) int32
    times: np.ndarray  # (N,) int64 seconds
    live_start: np.ndarray  # (D,) int64 relative index of the first live event
    session_offsets: np.ndarray  # (D + 1,) int64: device d owns sessions session_offsets[d]:session_offsets[d + 1]
    session_starts: np.ndarray  # (S,) int64 relative index of each session's first event
    change_points: np.ndarray  # (D,) int64 relative index of the first event after the change, -1 = none known
    change_ends: np.ndarray  # (D,) int64 just past the events in which the new interest takes over, -1 = none known
    switch_offsets: np.ndarray  # (D + 1,) int64: device d owns switches switch_offsets[d]:switch_offsets[d + 1]
    switches: np.ndarray  # int64 relative index of each event with which another interest begins; one unless recurring
    types: np.ndarray | None = None  # (N,) int32 from 1: the user's type at each interaction; only oracles are told

    @property
    def num_devices(self) -> int:
        """D."""
        return len(self.users)

    @property
    def num_sessions(self) -> int:
        """S."""
        return len(self.session_starts)

    @property
    def num_events(self) -> int:
        """Live events, all of which are played."""
        return int((self.lengths - self.live_start).sum())

    @cached_property
    def repeats(self) -> np.ndarray:
        """(N,) bool whether the device has interacted with each item before."""
        return repeats(self.offsets, self.items)

    @property
    def session_repeats(self) -> np.ndarray:
        """(S,) int64 events of each session whose item the device has interacted with before."""
        first = np.repeat(self.offsets[:-1], np.diff(self.session_offsets))
        before = np.concatenate(([0], np.cumsum(self.repeats)))
        found: np.ndarray = before[first + self.session_ends] - before[first + self.session_starts]
        return found

    @property
    def lengths(self) -> np.ndarray:
        """(D,) int64 number of interactions of each device."""
        return np.diff(self.offsets)

    @property
    def session_devices(self) -> np.ndarray:
        """(S,) int64 device of each session."""
        return np.repeat(np.arange(self.num_devices), np.diff(self.session_offsets))

    def of_session(self, device: int, session: int) -> tuple[np.ndarray, np.ndarray]:
        """The items of a device before one of its sessions ``(P,)`` and in it ``(R,)``, views of int32."""
        start, end = int(self.offsets[device]), int(self.offsets[device + 1])
        row = int(self.session_offsets[device]) + session
        first = start + int(self.session_starts[row])
        last = row + 1 == int(self.session_offsets[device + 1])
        following = end if last else start + int(self.session_starts[row + 1])
        return self.items[start:first], self.items[first:following]

    def types_of_session(self, device: int, session: int) -> np.ndarray | None:
        """The types in force at the events of one of a device's sessions ``(R,)``; None where none are known."""
        if self.types is None:
            return None
        past, now = self.of_session(device, session)
        first = int(self.offsets[device]) + len(past)
        return self.types[first : first + len(now)]

    @property
    def session_ends(self) -> np.ndarray:
        """(S,) int64 relative index just past each session's last event."""
        ends = np.empty(self.num_sessions, dtype=np.int64)
        ends[:-1] = self.session_starts[1:]
        ends[self.session_offsets[1:] - 1] = self.lengths
        return ends


def split_instant(interactions: Interactions) -> int:
    """The instant of a split by time, in seconds: :data:`QUANTILE` of all interactions have an earlier time."""
    return math.ceil(np.quantile(interactions.times, QUANTILE))


def eligible_users(interactions: Interactions, protocol: Protocol = "stream", instant: int | None = None) -> np.ndarray:
    """Ascending indices of the users with enough interactions to be a device under the protocol, int64.

    With an ``instant`` they need that many before it, and one from then on.
    """
    lengths, shortest = np.diff(interactions.offsets), SHORTEST[_known(protocol)]
    if instant is None:
        return np.flatnonzero(lengths >= shortest)
    before = count_before(interactions, instant)
    return np.flatnonzero((before >= shortest) & (before < lengths))


def count_before(interactions: Interactions, instant: int) -> np.ndarray:
    """(U,) int64: interactions of each user with a time before the instant."""
    before = np.concatenate(([0], np.cumsum(interactions.times < instant)))
    return np.diff(before[interactions.offsets])


def live_starts(
    interactions: Interactions, users: np.ndarray, protocol: Protocol = "stream", instant: int | None = None
) -> np.ndarray:
    """(D,) int64 relative index of the first live event of each of the ``users`` (D,)."""
    if instant is not None:
        return count_before(interactions, instant)[users]
    lengths = np.diff(interactions.offsets)[users]
    return lengths - (lengths // _LIVE_PART if protocol == "stream" else 1)


def build_streams(
    interactions: Interactions,
    users: Sequence[int] | np.ndarray,
    *,
    protocol: Protocol = "stream",
    session_length: int = 10,
    session_gap_minutes: float = 30.0,
    sessions: int | None = None,
    instant: int | None = None,
) -> Streams:
    """Split each user's sequence and cut its live part into sessions.

    Protocol `stream`: the last fifth of the n interactions (rounded down, n >= 5) is live. Protocol `paper`:
    the last interaction is the test, one session of one event. The item before the live part is for
    validation, what comes before that is history. With an `instant`, what has this time or a later one is live.

    Args:
        interactions: The data set.
        users: (D,) users that become devices 0..D-1, in this order.
        protocol: `stream` or `paper`.
        session_length: A session has at most this many events.
        session_gap_minutes: A longer pause than this closes a session; infinity cuts by count alone.
        sessions: Play at most this many sessions of each device; what its live stream holds after them is
            cut off.
        instant: Where a split by time divides, in seconds; without one each user's own last part is live.

    Raises:
        UserError: An option is out of range, there is no user, or a user has too few interactions.
    """
    if session_length < 1:
        raise UserError(f"session length {session_length}: a session has at least 1 event; give 1 or more")
    if math.isnan(session_gap_minutes) or session_gap_minutes <= 0:
        raise UserError(f"session gap {session_gap_minutes:g} minutes: give more than 0")
    if sessions is not None and sessions < 1:
        raise UserError(f"{sessions} sessions: play at least 1 session of each device")
    users = np.asarray(users, dtype=np.int64)
    if not len(users):
        raise UserError("no user to play: a device is one user, at least 1 is needed")

    first, lengths = interactions.offsets[users], np.diff(interactions.offsets)[users]
    shortest = SHORTEST[_known(protocol)]
    if lengths.min() < shortest:
        user = interactions.user_ids[users[lengths.argmin()]]
        raise UserError(
            f"user {user} of {interactions.name} has {lengths.min()} interactions; a device needs at least "
            f"{shortest} under protocol {protocol}"
        )
    live_start = live_starts(interactions, users, protocol, instant)
    live = lengths - live_start
    if instant is not None and not ((live_start >= shortest) & (live > 0)).all():
        user = interactions.user_ids[users[((live_start < shortest) | (live == 0)).argmax()]]
        raise UserError(
            f"user {user} of {interactions.name}: a device needs {shortest} interactions before the instant of a split "
            "by time, and one from then on"
        )

    # All live events, device after device: where each one's sequence index is `index` and its row `row`.
    device = np.repeat(np.arange(len(users)), live)
    index = _count_up(live_start, live)
    times = interactions.times[np.repeat(first, live) + index]
    opens = np.ones(len(index), dtype=bool)
    opens[1:] = (np.diff(device) != 0) | (np.diff(times) > session_gap_minutes * 60)
    run_start = np.maximum.accumulate(np.where(opens, np.arange(len(opens)), 0))
    opens |= (np.arange(len(opens)) - run_start) % session_length == 0
    session_starts, session_device = index[opens], device[opens]
    counts = np.bincount(session_device, minlength=len(users))

    if sessions is not None:
        number = _count_up(np.zeros_like(counts), counts)
        beyond = number == sessions
        lengths = lengths.copy()
        lengths[session_device[beyond]] = session_starts[beyond]
        session_starts = session_starts[number < sessions]
        counts = np.minimum(counts, sessions)

    rows = _count_up(first, lengths)
    changes = interactions.change_points[users]
    return Streams(
        users=users,
        offsets=_offsets(lengths),
        items=interactions.items[rows],
        times=interactions.times[rows],
        live_start=live_start,
        session_offsets=_offsets(counts),
        session_starts=session_starts,
        change_points=changes,
        change_ends=np.where(changes >= 0, changes + 1, -1),
        switch_offsets=_offsets((changes >= 0).astype(np.int64)),
        switches=changes[changes >= 0],
        types=None if interactions.types is None else interactions.types[rows],
    )


def session_phase(streams: Streams) -> np.ndarray:
    """(S,) str: where each session lies with respect to its device's change point.

    `stationary` if no change point of the device is among the events that are played, else `before` (the
    session ends at or before the change point), `during` (it contains events in which the new interest takes
    over: of an abrupt change the first one, of a gradual change any of its transition) or `after`.
    """
    device = streams.session_devices
    change, end = streams.change_points[device], streams.session_ends
    played = (change >= streams.live_start[device]) & (change < streams.lengths[device])
    return np.select(
        [~played, end <= change, streams.session_starts < streams.change_ends[device]],
        ["stationary", "before", "during"],
        "after",
    )


def sessions_since_switch(streams: Streams) -> np.ndarray:
    """(S,) int64: how many sessions began since another interest took over, as an oracle sees it; -1 = none yet.

    0 is a session at whose start the device has seen at least one event of the new interest and, for a gradual
    change, every session that starts inside the transition. A recurring change counts from its latest switch.
    """
    out = np.full(streams.num_sessions, -1, dtype=np.int64)
    change, change_end = streams.change_points, streams.change_ends
    for device in range(streams.num_devices):
        mine = slice(int(streams.session_offsets[device]), int(streams.session_offsets[device + 1]))
        switches = streams.switches[streams.switch_offsets[device] : streams.switch_offsets[device + 1]]
        if not len(switches):
            continue
        starts = streams.session_starts[mine]
        latest = np.searchsorted(switches, starts, side="left") - 1  # the last switch before the session's start
        ends = np.maximum(switches + 1, np.where(switches == change[device], change_end[device], 0))
        settled = np.searchsorted(starts, ends, side="left")  # the first session that starts after the transition
        age = np.maximum(np.arange(len(starts)) - settled[latest], 0)
        out[mine] = np.where(latest >= 0, age, -1)
    return out


def save(streams: Streams, folder: Path, run: str = "") -> None:
    """Write one .npy file per field, and a manifest with their digests and the identity of the ``run``."""
    sealed.write_arrays(folder, _arrays(streams), {"run": run})


def fingerprint(streams: Streams) -> str:
    """A short hash of everything that is played."""
    digest = hashlib.sha256()
    for name, array in _arrays(streams).items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _arrays(streams: Streams) -> dict[str, np.ndarray]:
    """What is played; types are not, they are told to oracles alone."""
    return {field.name: getattr(streams, field.name) for field in fields(streams) if field.name != "types"}


def _known(protocol: str) -> str:
    if protocol not in SHORTEST:
        raise UserError(unknown("protocol", protocol, SHORTEST))
    return protocol


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def _count_up(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ... (counts[0] numbers), then starts[1], ...; (sum of counts,) int64."""
    return np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
