"""Injected drift of interests with known change points, on any data set.

After its onset, the live stream of an affected device is no longer its own alone: events of a *donor*, a user with
distant interests, take the place of its own. Only *what* the device interacts with changes, not *when*: times and
sessions are those of the natural stream, so that scenarios can be compared session by session. History and validation
item stay as they are, and a donor's events come from the donor's live stream, so that no cloud model has seen them.
Both streams are consumed in their own order: an own event that had to wait comes later, none is skipped.

========== ===========================================================================================
kind       probability that an event is the donor's
========== ===========================================================================================
natural    0
abrupt     ``severity`` from the onset on
gradual    grows linearly from 0 at the onset to ``severity`` after ``transition`` of the live stream
recurring  ``severity`` for ``period`` events from the onset on, 0 for as many, and so on
========== ===========================================================================================
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from core.errors import UserError, unknown
from core.seeds import numpy_generator
from sim.data.interactions import Interactions
from sim.world.donors import DonorPool
from sim.world.streams import Streams
from sim.world.tables import check_keys, number, read_toml

KINDS: dict[str, set[str]] = {
    "natural": set(),
    "abrupt": {"share", "onset", "severity"},
    "gradual": {"share", "onset", "severity", "transition"},
    "recurring": {"share", "onset", "severity", "period"},
}
"""What a drift of each kind must say."""
LONGEST = 10**9
"""Events of a period: more than any stream has."""


@dataclass(frozen=True)
class Drift:
    """How interests drift. Shares are of the devices, ``onset`` and ``transition`` of a device's live events."""

    name: str
    description: str
    kind: str
    share: float = 0.0
    onset: tuple[float, float] = (0.0, 0.0)
    severity: float = 0.0
    transition: float = 0.0
    period: int = 0

    def probabilities(self, events: int, onset: int) -> np.ndarray:
        """The probability of each of a device's live events to be the donor's, ``(events,)``; before ``onset`` it is 0.

        A gradual drift is at ``severity / length`` with the first event and at ``severity`` with the last one of its
        transition, which is at least one event long.
        """
        after = np.arange(events) - onset
        if self.kind == "gradual":
            strength = np.clip((after + 1) / self.transition_events(events), 0.0, 1.0)
        elif self.kind == "recurring":
            strength = ((after // self.period) % 2 == 0).astype(float)
        else:
            strength = np.ones(events)
        return np.where(after >= 0, self.severity * strength, 0.0)

    def transition_events(self, events: int) -> int:
        """Events from the onset until the new interest has all its strength; 1 where it has it at once."""
        return max(1, round(self.transition * events)) if self.kind == "gradual" else 1


def load_drift(name: str) -> Drift:
    """The drift of a name or a TOML file; raises :class:`UserError` for an invalid one."""
    path, table = read_toml("drift", name)
    label, kind = path.stem, str(table.get("kind"))
    where = f"drift {label}"
    check_keys(where, table, set(table), {"kind"})
    if kind not in KINDS:
        raise UserError(f"{where}: {unknown('kind', kind, KINDS)}")
    check_keys(where, table, KINDS[kind] | {"description", "kind"}, KINDS[kind])
    given: dict[str, object] = {
        key: number(where, key, table[key], most=1.0) for key in sorted(KINDS[kind] - {"onset", "period"})
    }
    if "onset" in table:
        given["onset"] = _onset(where, table["onset"])
    if "period" in table:
        given["period"] = _period(where, table["period"])
    return Drift(label, str(table.get("description", "")), kind, **given)  # type: ignore[arg-type]


def inject(
    streams: Streams, interactions: Interactions, drift: Drift, seed: int, instant: int | None = None
) -> Streams:
    """The same devices, times and sessions, with the items of a drifted live stream and its change points.

    What happens to a device depends on the seed, its user and its live stream, not on the other devices. A device whose
    own change point is known from the data (the generated set has some) keeps its stream: there would be two changes.
    ``instant`` is that of a split by time: donors' live streams begin there, too.

    Raises:
        UserError: All live streams are single events, as with ``--protocol paper``.
    """
    if drift.kind == "natural":
        return streams
    live = streams.lengths - streams.live_start
    if live.max() < 2:
        raise UserError(f"--drift {drift.name}: the live streams are single events, in which nothing can drift")
    pool = DonorPool(interactions, seed, instant)
    items = np.array(streams.items)
    types = None if streams.types is None else np.array(streams.types)
    points, ends = np.array(streams.change_points), np.array(streams.change_ends)
    switches = [np.array(part) for part in np.split(streams.switches, streams.switch_offsets[1:-1])]
    for device, user in enumerate(streams.users.tolist()):
        random = numpy_generator(seed, "drift", user)
        affected, place = random.random() < drift.share, random.uniform(*drift.onset)
        if not affected or points[device] >= 0:
            continue
        events, first = int(live[device]), int(streams.live_start[device])
        onset = min(events - 1, math.floor(place * events))
        chance = drift.probabilities(events, onset)
        foreign = random.random(events) < chance
        foreign[onset] = True  # the change point is where the donor is first met
        stream = slice(int(streams.offsets[device]) + first, int(streams.offsets[device + 1]))
        own = items[stream][: events - int(foreign.sum())]
        history = items[int(streams.offsets[device]) : stream.start]
        mixed = np.empty(events, dtype=items.dtype)
        donated = pool.events(user, history, int(foreign.sum()), random)
        mixed[~foreign], mixed[foreign] = own, pool.items[donated]
        items[stream] = mixed
        if types is not None and pool.types is not None:
            kinds = np.empty(events, dtype=types.dtype)
            kinds[~foreign], kinds[foreign] = types[stream][: len(own)], pool.types[donated]
            types[stream] = kinds
        points[device] = first + onset
        ends[device] = min(first + onset + drift.transition_events(events), first + events)
        switches[device] = first + _switches(drift, events, onset)
    return replace(
        streams,
        items=items,
        types=types,
        change_points=points,
        change_ends=ends,
        switch_offsets=np.concatenate(([0], np.cumsum([len(part) for part in switches]))).astype(np.int64),
        switches=np.concatenate(switches).astype(np.int64),
    )


def _switches(drift: Drift, events: int, onset: int) -> np.ndarray:
    """Live events at which another interest begins: the onset, and for a recurring drift every period after it."""
    return np.arange(onset, events, drift.period) if drift.kind == "recurring" else np.array([onset])


def _onset(where: str, given: object) -> tuple[float, float]:
    """One place for all devices, or the two ends that each device's own is drawn between."""
    ends = given if isinstance(given, list) else [given, given]
    if len(ends) != 2:
        raise UserError(f"{where}: onset is {given!r}; give a number or [earliest, latest]")
    low, high = (number(where, "onset", end, most=1.0, zero=True) for end in ends)
    if low > high:
        raise UserError(f"{where}: onset is {given!r}; the earliest comes first")
    return low, high


def _period(where: str, given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= LONGEST:
        raise UserError(f"{where}: period is {given!s:.24}; it must be a whole number from 1 to {LONGEST:,}")
    return given
