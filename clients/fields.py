"""The fields of every message: name, type, range and meaning, one table a record. Both ends check against these tables.

A range here is what holds for every message. What follows from the message that was answered (the session's events, the
path that was sent) narrows it: :mod:`strategies.expectation`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flwr.app import ConfigRecord, MetricRecord

LARGEST = 2.0**53
"""Of a count: every smaller integer is a float64 of its own."""
NAME = 200
"""Longest name of a device state or of a folder of lists."""
DIGEST = 64
"""Hexadecimal digits of a SHA-256."""
_NAME, _DIGEST = re.compile(r"[a-z0-9-]*"), re.compile(r"[0-9a-f]{64}")
MOST_BLOCKS = 62
"""A path is one number of a bit a block, and has to fit into an int64."""


class BadMessage(ValueError):
    """A message that breaks the protocol; the text is one line that names the field and says what is wrong with it."""


@dataclass(frozen=True)
class Field:
    """One field of a record."""

    name: str
    kind: type[int] | type[float] | type[str] | type[bool]
    """Exactly this type: no bool stands for an int, and no int for a float."""
    meaning: str
    low: float = 0
    high: float = LARGEST
    """Ends included; of a text, its length."""

    def check(self, value: object) -> None:
        """Raise :class:`BadMessage` if ``value`` cannot be one of this field."""
        if type(value) is not self.kind:
            raise BadMessage(f"{self.name} is of type {type(value).__name__}, expected {self.kind.__name__}")
        if isinstance(value, str):
            if "\0" in value or not self.low <= len(value) <= self.high:
                raise BadMessage(f"{self.name} is {shown(value)}, expected {_span(self.low, self.high)} characters")
        elif not self.low <= value <= self.high:
            raise BadMessage(f"{self.name} is {shown(value)}, expected {_span(self.low, self.high)}")

    def within(self, low: float, high: float) -> "Field":
        """The same field in a narrower range."""
        return replace(self, low=low, high=high)


MODEL_FIELDS = (
    Field("digest", str, "SHA-256 of the file that is installed", DIGEST, DIGEST),
    Field("context", int, "items that a prediction reads", low=1, high=2**16),
    Field("history_length", int, "items that the extractors read", low=1, high=2**16),
)
"""Down: which model to play with."""

SESSION_FIELDS = (
    Field("device", int, "number of the simulated device, from 0", high=2**31),
    Field("session", int, "number of the device's session, from 0", high=2**31),
    Field("seed", int, "of the device's own draws", low=-(2**63), high=2**63 - 1),
)
"""Down: which session to play."""

BUDGET_FIELDS = (
    Field("macs", float, "ceiling of multiply-accumulates of one inference", high=math.inf),
    Field("model_bits", float, "ceiling of the bits of the network's weights and of what makes it", high=math.inf),
    Field("update_bits", float, "ceiling of the bits of what comes down for a session", high=math.inf),
    Field("joules", float, "ceiling of the whole session's energy", high=math.inf),
    Field("predictions", int, "inferences that the energy is planned for"),
    Field("seconds_per_mac", float, "of today's computing"),
    Field("joules_per_mac", float, "of computing"),
    Field("joules_per_bit_down", float, "of the radio"),
    Field("joules_per_bit_up", float, "of the radio"),
    Field("joules_tail", float, "of the radio, once a session that uses it"),
    Field("bits", int, "of the numbers that the device computes with: 32, 16 or 8", low=8, high=32),
)
"""Down: what the device can afford today."""

POLICY_FIELDS = (
    Field("name", str, "NAME or NAME:PARAMETER of the request policy", 1, 100),
    Field("state", str, "name under which the devices keep what they remember between sessions", 1, NAME),
    Field("draw", float, "the device-session's own uniform number", high=1),
    Field("switch", int, "sessions since another interest took over, -1 for none", low=-1, high=2**31),
    Field("detector", str, "SHA-256 of the mis-recommendation detector's file, or nothing", 0, DIGEST),
    Field("compare", bool, "whether the stale and the fresh network are both played"),
    Field("since", int, "the device's first session with the model that is installed", high=2**31),
)
"""Down: by what the device decides whether to ask."""

EVALUATION_FIELDS = (
    Field("sampled", int, "other candidates that each item is ranked among, too; 0: none", high=10**6),
    Field("lists", str, "name of the folder on the device's disk for what it recommends, or nothing", 0, NAME),
)
"""Down: what the simulator measures beside the ranks among all candidates."""

UPLOAD_FIELDS = (
    Field("latent", bool, "whether the latent interest is sent"),
    Field("clip", float, "largest norm of it; 0: it is not clipped", high=1e30),
    Field("noise", float, "standard deviation of the noise on each of its numbers, in multiples of that", high=1e30),
    Field("bits", int, "of each of its numbers on its way", 4, 32),
)
"""Down: in which form the device sends its latent interest."""

REQUEST_FIELDS = (Field("macs", int, "multiply-accumulates of the extractors and of deciding"),)
"""Up, with a request, and all there is without one."""
PROBE_FIELD = Field("probe", int, "1: no request of the device, but one that the simulator makes to compare", 1, 1)

QUALITY_FIELDS = (
    Field("hits_1", int, "events whose item was ranked first", high=2**31 - 1),
    Field("hits_5", int, "whose item was among the first 5", high=2**31 - 1),
    Field("hits", int, "whose item was among the first 10", high=2**31 - 1),
    Field("hits_20", int, "whose item was among the first 20", high=2**31 - 1),
    Field("ndcg_5", float, "sum over the events of NDCG@5"),
    Field("ndcg", float, "sum over the events of NDCG@10"),
    Field("ndcg_20", float, "sum over the events of NDCG@20"),
    Field("mrr", float, "sum over the events of 1 / rank"),
)
"""Up, in every report: sums over the events, by the names of :func:`models.metrics.measures`."""

SAMPLED_FIELDS = (
    Field("hits_sampled", int, "whose item was among the first 10 of itself and sampled candidates", high=2**31 - 1),
    Field("ndcg_sampled", float, "sum over the events of NDCG@10 among them"),
)
"""Up, beside that, where the items are ranked among sampled candidates, too."""

MEASURED_FIELDS = (
    Field("events", int, "interactions of the session that are predictions", high=2**31 - 1),
    *QUALITY_FIELDS,
    Field("served", int, "1 if a network was run, 0 if the device ranked by popularity", high=1),
    Field("macs", int, "multiply-accumulates of one inference"),
    Field("macs_paper", int, "the same as the paper counts"),
    Field("macs_adapt", int, "multiply-accumulates of making itself a network"),
    Field("macs_decide", int, "multiply-accumulates of deciding whether to adapt"),
    Field("param_bits", int, "size of the network, in the device's precision"),
    Field("path", int, "the blocks that ran, bit 0 the first", high=2**MOST_BLOCKS - 1),
)
"""Up: what a device reports of a session."""

COMPARED_FIELDS = (
    Field("hits_stale", int, "hits with the network of before the session", high=2**31 - 1),
    Field("ndcg_stale", float, "NDCG@10 with it, summed"),
    Field("hits_fresh", int, "hits with a network made for the session", high=2**31 - 1),
    Field("ndcg_fresh", float, "NDCG@10 with it, summed"),
)
"""Up, beside that, where the simulator compares the stale network with the fresh one."""

MISSING_FIELDS = (
    Field("digests", str, "SHA-256 of each file that is not installed, separated by spaces", 0, 10**4),
    Field("depot", str, "name of the machine's depot, drawn by it at random", 1, NAME),
)
"""Up, in place of an answer: the cloud sends the files and tells the device again."""

STATE_FIELDS = (
    Field("state", str, "name under which the device keeps what it remembers", 1, NAME),
    Field("device", int, "number of the simulated device, from 0", high=2**31),
    Field("session", int, "that it is to play next", high=2**31),
    Field("adapted", int, "its last session with an adaptation, -1 for none", low=-1, high=2**31),
)
"""Down: the state in which a device should be that goes on with a killed run."""

REFUSED_FIELDS = (Field("reason", str, "why the device does not do what it was told", 0, 10**6),)
"""Up, in place of an answer."""


def check(name: str, record: object, fields: Sequence[Field]) -> dict[str, Any]:
    """The values of a record that holds exactly these fields.

    Raises :class:`BadMessage` if it is of the wrong kind, lacks a field, has another, or if a value is out of place.
    """
    if not isinstance(record, ConfigRecord | MetricRecord):
        raise BadMessage(f"'{name}' holds arrays, expected numbers")
    told = dict(record.items())
    expected = [field.name for field in fields]
    if missing := [key for key in expected if key not in told]:
        raise BadMessage(f"'{name}' lacks {', '.join(missing)}")
    if len(told) > len(expected):
        extra = sorted(set(told) - set(expected))
        raise BadMessage(f"'{name}' holds {shown(extra[0])}, which the protocol does not name")
    for field in fields:
        field.check(told[field.name])
    return {key: told[key] for key in expected}


def check_name(name: str, value: str) -> None:
    """Raise :class:`BadMessage` unless ``value`` can name a folder below the device's own: letters, digits, hyphens."""
    if not _NAME.fullmatch(value):
        raise BadMessage(f"{name} is {shown(value)}, expected letters, digits and hyphens")


def check_digest(name: str, value: str) -> None:
    """Raise :class:`BadMessage` unless ``value`` is a SHA-256 in hexadecimal digits."""
    if not _DIGEST.fullmatch(value):
        raise BadMessage(f"{name} is {shown(value)}, expected {DIGEST} hexadecimal digits")


def shown(value: object) -> str:
    """``value`` in a few characters, however large it is."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _span(low: float, high: float) -> str:
    ends = [f"{end:.17g}" for end in (low, high)]
    if low == high:
        return ends[0]
    return f"at least {ends[0]}" if math.isinf(high) else f"{ends[0]} to {ends[1]}"
