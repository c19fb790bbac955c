"""Facts of the data of a run, and a warning for each of them that makes a table of results misleading.

They are computed from the data set, the streams that are played, and the histories that the cloud trains on.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from sim.data.interactions import Interactions
from sim.data.times import day
from sim.world.streams import Streams, count_before

CUTOFF = 10
"""Cut-off of the metrics: with no more items than this, Hit is 1 whatever a method does."""
MOST_LEFT_OUT = 0.5
"""Share of users that may be left out: past it, the devices are a minority of the data set."""
MOST_COLD = 0.1
"""Share of live events with an item that no training history holds: every method misses them, so they cap its Hit."""
MOST_REPEATS = 0.05
"""Share of live events that repeat the device's own past: past a few per cent they decide which method looks best."""
MOST_DUPLICATES = 0.005
"""Share of rows that repeat user, item and time: a few are double clicks, more are a file written twice."""
MOST_TIED = 0.1
"""Share of rows whose time another row of the user has: on MovieLens-1M their order alone carries 15 % of NDCG@10."""
MOST_ONE_EVENT = 0.5
"""Share of sessions with one event: past it, "at most once per session" is once per event."""
EARLIEST, LATEST = 631_152_000, 2_524_608_000
"""1990 and 2050: recorded interactions lie between them; times in minutes or days read as seconds end up in 1970."""

_DAY = 86_400


@dataclass(frozen=True)
class DataFacts:
    """The facts, as ``[data_facts]`` of ``config.toml`` holds them; shares are between 0 and 1."""

    name: str
    users: int
    users_left_out: int
    """They do not qualify as devices."""
    users_qualifying: int
    users_without_history: int
    """They have fewer than ``interactions_needed``; split by time, before the instant."""
    users_without_future: int
    """Split by time: they have enough before the instant, and nothing from then on."""
    interactions_needed: int
    devices: int
    items: int
    interactions: int
    split: str
    """``user`` or ``time``."""
    split_day: str
    """Split by time: the day of the instant; else nothing."""
    training_share_later: float
    """Share of the interactions in the histories that the cloud trains on first whose time is later than that of a live
    event; mean over all live events."""
    live_events: int
    share_cold_live: float
    """Share of the live events whose item occurs in no history that the cloud trains on."""
    share_repeats: float
    """Share of the live events whose item occurs in the device's own past."""
    duplicate_rows: int
    """Rows of the data set that repeat user, item and time of an earlier one."""
    share_duplicates: float
    share_tied: float
    """Share of the rows of the data set for which another row of the same user has the same time."""
    ties: str
    """How such rows are ordered: ``file`` or ``shuffled``."""
    candidates: str
    """What a device chooses from: ``unseen`` or ``all`` items."""
    share_one_event_sessions: float
    median_pause_minutes: float
    """Seconds between two interactions of a device, one after the other."""
    session_gap_minutes: float
    first_day: str
    last_day: str
    span_days: float
    notes: tuple[str, ...]
    """What the loader recognised by itself: columns, unit of time, filter."""
    warnings: tuple[str, ...]
    """One line for each fact past its bound."""

    def table(self) -> dict[str, object]:
        """``[data_facts]``: flat scalars, and two lists of texts."""
        return asdict(self) | {"notes": list(self.notes), "warnings": list(self.warnings)}

    def lines(self) -> Iterator[str]:
        """The block that a user reads when the data are loaded, without the warnings."""
        yield (
            f"data: {self.name}: {self.users:,} users, {self.items:,} items, {self.interactions:,} interactions, "
            f"{self.first_day} to {self.last_day}"
        )
        yield from (f"  {note}" for note in self.notes)
        if self.split == "time":
            yield (
                f"  users: {self.devices:,} are devices, of {self.users_qualifying:,} that qualify; split on "
                f"{self.split_day}: {self.users_without_history:,} have fewer than {self.interactions_needed} "
                f"interactions before, {self.users_without_future:,} others none after"
            )
        else:
            yield (
                f"  users: {self.devices:,} are devices; {self.users_left_out:,} are left out, they have fewer than "
                f"the {self.interactions_needed} interactions that a device needs"
            )
            yield (
                f"  training: {_percent(self.training_share_later)} of it lies later in time than the live event that "
                "it helps to predict, on average; --split time divides all users at one instant"
            )
        yield (
            f"  live events: {self.live_events:,}; item in no training history {_percent(self.share_cold_live)}, "
            f"repeats of the device's own past {_percent(self.share_repeats)}"
        )
        yield (
            f"  rows: {self.duplicate_rows:,} exact duplicates; time of another row of the user "
            f"{_percent(self.share_tied)}, ordered as --ties {self.ties} says"
        )
        yield (
            f"  sessions: {_percent(self.share_one_event_sessions)} of one event; median pause "
            f"{_minutes(self.median_pause_minutes)}, --session-gap {self.session_gap_minutes:g} min"
        )


def data_facts(
    interactions: Interactions,
    streams: Streams,
    histories: np.ndarray,
    times: np.ndarray,
    *,
    able: int,
    needed: int,
    ties: str,
    candidates: str,
    session_gap: float,
    session_length: int,
    instant: int | None = None,
) -> DataFacts:
    """Compute the facts of a run.

    Args:
        interactions: The data set, after its filter.
        streams: What is played.
        histories: (H,) items of the histories that the cloud trains on.
        times: (H,) when, in seconds.
        able: Users with enough interactions to be a device.
        needed: Interactions that a device needs.
        ties: How rows of one user with equal times are ordered.
        candidates: What a device chooses from, ``unseen`` or ``all`` items.
        session_gap: Minutes without an interaction that end a session.
        session_length: Most events of a session.
        instant: Of a split by time, in seconds.
    """
    live = _live(streams)
    known = np.zeros(interactions.num_items + 1, dtype=bool)
    known[histories] = True
    tied = interactions.tied()
    neighbours = tied.copy()
    neighbours[:-1] |= tied[1:]
    pauses = _pauses(streams.times, streams.offsets)
    first, last = int(interactions.times.min()), int(interactions.times.max())
    duplicates = _duplicates(interactions, tied)
    lengths = np.diff(interactions.offsets) if instant is None else count_before(interactions, instant)
    short = int((lengths < needed).sum())
    facts = DataFacts(
        name=interactions.name,
        users=interactions.num_users,
        users_left_out=interactions.num_users - able,
        users_qualifying=able,
        users_without_history=short,
        users_without_future=interactions.num_users - able - short,
        interactions_needed=needed,
        devices=streams.num_devices,
        items=interactions.num_items,
        interactions=interactions.num_interactions,
        split="user" if instant is None else "time",
        split_day="" if instant is None else day(instant),
        training_share_later=_later(times, streams.times[live]),
        live_events=int(live.sum()),
        share_cold_live=_share(~known[streams.items[live]]),
        share_repeats=_share(_repeats(streams)[live]),
        duplicate_rows=duplicates,
        share_duplicates=round(duplicates / interactions.num_interactions, 6),
        share_tied=_share(neighbours),
        ties=ties,
        candidates=candidates,
        share_one_event_sessions=_share(streams.session_ends - streams.session_starts == 1),
        median_pause_minutes=round(float(np.median(pauses)) / 60, 4) if len(pauses) else 0.0,
        session_gap_minutes=session_gap,
        first_day=day(first),
        last_day=day(last),
        span_days=round((last - first) / _DAY, 4),
        notes=interactions.notes,
        warnings=(),
    )
    odd = not EARLIEST <= first <= last <= LATEST
    by_pause = session_length > 1 and facts.live_events > streams.num_devices
    warnings = tuple(_warnings(facts, odd_times=odd, cut_by_pauses=by_pause))
    return DataFacts(**(facts.__dict__ | {"warnings": warnings}))


def _warnings(facts: DataFacts, *, odd_times: bool, cut_by_pauses: bool) -> Iterator[str]:
    if facts.users_left_out > MOST_LEFT_OUT * facts.users:
        where = " before the split, and one after it" if facts.split == "time" else ""
        yield (
            f"{facts.users_left_out:,} of {facts.users:,} users are left out: a device needs at least "
            f"{facts.interactions_needed} interactions{where}, so the results are those of the active users"
        )
    if facts.items <= CUTOFF:
        yield (
            f"the catalogue has {facts.items} items and the metrics' cut-off is {CUTOFF}: Hit@{CUTOFF} is 1 "
            "whatever a method recommends"
        )
    if facts.share_cold_live > MOST_COLD:
        yield (
            f"{_percent(facts.share_cold_live)} of the live events have an item that nobody's history holds: no "
            "trained method can find them"
        )
    if facts.share_repeats > MOST_REPEATS:
        yield (
            f"{_percent(facts.share_repeats)} of the live events repeat an item of the device's own past: "
            + (
                "they are no predictions and are not scored; --candidates all scores them"
                if facts.candidates == "unseen"
                else "remembering predicts them; --candidates unseen leaves them out"
            )
        )
    if facts.share_duplicates > MOST_DUPLICATES and facts.span_days > 0:  # else a repeat looks like a duplicate
        yield (
            f"{facts.duplicate_rows:,} of {facts.interactions:,} rows are exact duplicates (user, item and time of "
            "another row): the next item is then often the last one, which raises every metric; remove them"
        )
    if facts.span_days == 0:
        yield (
            "all times are equal: there is no order but that of "
            + ("the file" if facts.ties == "file" else "a shuffling (--ties shuffled)")
            + ", and no session ends by a pause"
        )
    elif facts.share_tied > MOST_TIED:
        how = "they stay in the file's order, which may tell the future; compare --ties shuffled"
        if facts.ties != "file":
            how = "they are shuffled"
        yield f"{_percent(facts.share_tied)} of the rows have the time of another row of their user: {how}"
    if cut_by_pauses and facts.share_one_event_sessions > MOST_ONE_EVENT:
        yield (
            f"{_percent(facts.share_one_event_sessions)} of the sessions have one event: the median pause is "
            f"{_minutes(facts.median_pause_minutes)} and --session-gap {facts.session_gap_minutes:g} min; a larger "
            "one, or inf, makes longer sessions"
        )
    if odd_times:
        yield (
            f"the times lie between {facts.first_day} and {facts.last_day}, not between 1990 and 2050 (a span of "
            f"{facts.span_days:,.1f} days, a median pause of {_minutes(facts.median_pause_minutes)}): their unit is "
            "probably another one (minutes, hours, days?); convert them to seconds since 1970"
        )


def _later(times: np.ndarray, live: np.ndarray) -> float:
    """Share of ``times`` after each of ``live``, mean over these."""
    before = np.searchsorted(np.sort(times), live, side="right")
    return round(1 - float(before.mean()) / len(times), 6)


def _live(streams: Streams) -> np.ndarray:
    """(N,) bool: whether a row of the streams is a live event."""
    lengths = streams.lengths
    place = np.arange(len(streams.items)) - np.repeat(streams.offsets[:-1], lengths)
    return place >= np.repeat(streams.live_start, lengths)


def _repeats(streams: Streams) -> np.ndarray:
    """(N,) bool: whether a row's item occurs earlier in the same device's sequence."""
    devices = np.repeat(np.arange(streams.num_devices), streams.lengths)
    pairs = devices * (int(streams.items.max()) + 1) + streams.items
    out = np.ones(len(pairs), dtype=bool)
    out[np.unique(pairs, return_index=True)[1]] = False
    return out


def share_of_duplicates(interactions: Interactions) -> float:
    """Of the rows, those that repeat the item of an earlier one with the same user and time."""
    return _duplicates(interactions, interactions.tied()) / interactions.num_interactions


def _duplicates(interactions: Interactions, tied: np.ndarray) -> int:
    """Rows that repeat the item of an earlier one with the same user and time."""
    moments = np.cumsum(~tied)  # rows of one user and time have one number
    pairs = moments * (interactions.num_items + 1) + interactions.items
    return len(pairs) - len(np.unique(pairs))


def _pauses(times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Seconds between two neighbouring rows of one device."""
    inside = np.ones(max(len(times) - 1, 0), dtype=bool)
    inside[offsets[1:-1] - 1] = False
    return np.diff(times)[inside]


def _share(rows: np.ndarray) -> float:
    return round(float(rows.mean()), 6) if len(rows) else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _minutes(minutes: float) -> str:
    """A duration in the unit in which it is read most easily."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"
