"""Device mixes: what the simulated devices can do, read from TOML, and which device is of which kind.

A mix is one ``[cloud]`` and a list of ``[[tier]]``, or another mix (``base = "phones"``) with other ``[shares]``, with
other numbers for ``[each]`` of its tiers, and other tables. A number is written plainly or as
``{ value = ..., source = "..." }``; every number in a shipped file names its source.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.errors import UserError
from core.seeds import numpy_generator
from models.arithmetic import BITS
from sim.world.availability import Chain, Trace, read_trace
from sim.world.tables import LARGEST, as_table, check_keys, number, read_toml

Section = TypeVar("Section")
SHARE_TOLERANCE = 1e-6
KEYS = {"description", "cloud", "tier", "availability", "budget", "failures"}
DEEPEST = 8
"""Mixes that build on each other; a circle has no end."""

PROPORTIONS = {"share", "efficiency", "busy_factor", "to_busy", "to_idle", "dropout", "late", "vanish"}
"""Numbers that are at most 1."""


@dataclass(frozen=True)
class Limits:
    """Ceilings of a device-session; None: no ceiling."""

    latency_ms: float | None = None
    """One inference may take this long at today's compute, which is a ceiling on its multiply-accumulates."""
    model_mbyte: float | None = None
    """Weights of the device's own network, 10^6 bytes; the tier's memory is a ceiling in any case."""
    update_mbit: float | None = None
    """Weights that come down for one session, 10^6 bits."""
    session_joules: float | None = None
    """Energy of a session, planned for the longest one of the run."""


@dataclass(frozen=True)
class Tier:
    """One kind of device. Keys without a default must be in the file."""

    name: str
    share: float
    """The share of the devices that are of this tier, from 0 to 1."""
    gflops: float
    """Peak compute, 10^9 floating-point operations a second (two for each multiply-accumulate)."""
    efficiency: float
    """The share of the peak that a small network at batch 1 reaches."""
    memory_mbyte: float
    """Room for the weights of the device's own network, 10^6 bytes; what all methods have in common (item embeddings,
    extractors) is not counted."""
    downlink_mbit_s: float
    uplink_mbit_s: float
    picojoule_per_mac: float
    nanojoule_per_bit_down: float
    nanojoule_per_bit_up: float
    tail_watts: float = 0.0
    """What the radio draws after the last bit, before it sleeps."""
    tail_seconds: float = 0.0
    """How long it draws that; a session with traffic has one tail."""
    assembly_mbyte_s: float | None = None
    """How fast received weights become a network, 10^6 bytes a second; None: in no time."""
    bits: int = 32
    """In what it stores weights and multiplies: 32 and 16 are floating-point numbers, 8 are integers
    (:mod:`models.arithmetic`). ``picojoule_per_mac`` is that of a multiply-accumulate of this kind."""
    budget: Limits = Limits()
    """What this tier has in place of the mix's own ceilings."""

    @property
    def flops(self) -> float:
        """Effective compute of an idle device, floating-point operations a second."""
        return self.gflops * 1e9 * self.efficiency

    @property
    def tail_joules(self) -> float:
        """Energy of one tail."""
        return self.tail_watts * self.tail_seconds


@dataclass(frozen=True)
class Cloud:
    """What answers the devices."""

    gflops: float
    """Effective compute, 10^9 floating-point operations a second."""
    requests_per_second: float | None = None
    """What the cloud can answer; requests that come faster wait, first come, first served. None: no queue."""
    spread_seconds: float = 0.0
    """The sessions of a round begin within this time, evenly; 0: all at once, the worst burst there can be."""


@dataclass(frozen=True)
class Failures:
    """What goes wrong, as the chance of each in a device-session. All methods meet the same failures."""

    dropout: float = 0.0
    """The device does not answer at all."""
    late: float = 0.0
    """Its request comes after the deadline; the cloud does not answer it. A device that asks nothing is never late."""
    vanish: float = 0.0
    """It disappears in the middle of the session, and its measurements with it."""
    deadline_seconds: float | None = None
    """A request that takes longer to arrive by the virtual clock is late in any case."""


@dataclass(frozen=True)
class Scenario:
    """A device mix."""

    name: str
    description: str
    cloud: Cloud
    tiers: tuple[Tier, ...]
    availability: Chain | Trace | None = None
    """How much of its compute a device has from session to session; None: always all of it."""
    budget: Limits = Limits()
    """For all tiers, unless they have their own."""
    failures: Failures = Failures()

    def limits(self, tier: Tier) -> Limits:
        """The ceilings of a kind of device."""
        own = {name: value for name, value in vars(tier.budget).items() if value is not None}
        return dataclasses.replace(self.budget, **own)

    def bits(self, devices: int, seed: int) -> np.ndarray:
        """What each device computes in, ``(D,)``."""
        return np.array([tier.bits for tier in self.tiers])[self.assign(devices, seed)]

    def assign(self, devices: int, seed: int) -> np.ndarray:
        """The index of each device's tier, ``(D,)``; a device keeps its tier when others are added."""
        edges = np.cumsum([tier.share for tier in self.tiers])
        draws = numpy_generator(seed, "tiers").random(devices)
        return np.minimum(np.searchsorted(edges, draws, side="right"), len(self.tiers) - 1)


def load_scenario(name: str) -> Scenario:
    """The device mix of a name or a TOML file; raises :class:`UserError` for an invalid one."""
    label, table = _read(name, Path(), ())
    check_keys(f"scenario {label}", table, KEYS, {"cloud", "tier"})
    entries = table["tier"]
    if not isinstance(entries, list) or not entries:
        raise UserError(f"scenario {label} has no [[tier]]")
    tiers = tuple(_section(_where(label, i, entry), entry, Tier) for i, entry in enumerate(entries))
    total = sum(tier.share for tier in tiers)
    if abs(total - 1) > SHARE_TOLERANCE:
        raise UserError(f"scenario {label}: the shares of its tiers sum to {total:g}, not to 1")
    names = [tier.name for tier in tiers]
    if len(set(names)) < len(names):
        raise UserError(f"scenario {label}: two tiers have the same name ({', '.join(names)})")
    return Scenario(
        name=label.removesuffix(".toml"),
        description=str(table.get("description", "")),
        cloud=_section(f"scenario {label}, [cloud]", table["cloud"], Cloud),
        tiers=tiers,
        availability=_availability(f"scenario {label}, [availability]", table.get("availability")),
        budget=_section(f"scenario {label}, [budget]", table.get("budget", {}), Limits),
        failures=_failures(f"scenario {label}, [failures]", table.get("failures", {})),
    )


def _read(name: str, beside: Path, above: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """The label and the table of a mix, ``base`` and ``shares`` resolved. Files are named relative to ``beside``;
    ``above`` are the mixes whose base this is."""
    path, table = read_toml("scenario", name, beside)
    label, folder = path.name, path.parent
    check_keys(f"scenario {label}", table, KEYS | {"base", "shares", "each"}, set())
    if isinstance(found := table.get("availability"), dict) and isinstance(trace := found.get("trace"), str):
        table["availability"] = {**found, "trace": str(folder / Path(trace).expanduser())}
    base, shares, each = table.pop("base", None), table.pop("shares", None), table.pop("each", None)
    if base is None:
        if shares is not None:
            raise UserError(f"scenario {label}: [shares] is for a mix with a base; give each tier its own share")
        if each is not None:
            raise UserError(f"scenario {label}: [each] is for a mix with a base; give each tier its own numbers")
        if not table:
            raise UserError(f'scenario {label} is empty; begin with another mix, base = "phones" say, or with [cloud]')
        return label, table
    if len(above) >= DEEPEST:
        raise UserError(f"scenario {above[0]}: more than {DEEPEST} mixes, each the base of the one before")
    if "tier" in table:
        raise UserError(f"scenario {label}: the tiers are those of its base {base}; give [shares], or leave out base")
    below = _shared(label, _read(str(base), folder, (*above, label))[1], shares)
    return label, {**_replaced(label, below, each), **table}


def _replaced(label: str, table: dict[str, object], each: object) -> dict[str, object]:
    """The table of a base with the numbers in ``each`` in place of those of every tier."""
    entries = table.get("tier")
    if each is None or not isinstance(entries, list):
        return table
    given = as_table(f"scenario {label}, [each]", each)
    known = {item.name for item in dataclasses.fields(Tier)} - {"name", "share", "budget"}
    check_keys(f"scenario {label}, [each]", given, known, set())
    return {**table, "tier": [{**tier, **given} for tier in entries]}


def _shared(label: str, table: dict[str, object], shares: object) -> dict[str, object]:
    """The table of a base with other shares; a tier without one is left out of the mix."""
    if shares is None:
        return table
    entries = table.get("tier")
    tiers = {str(entry.get("name")): entry for entry in entries} if isinstance(entries, list) else {}
    given = as_table(f"scenario {label}, [shares]", shares)
    check_keys(f"scenario {label}, [shares]", given, set(tiers), set())
    for name, share in given.items():
        if share == 0:
            raise UserError(f"scenario {label}, [shares]: {name} is {share}; leave out a tier that no device is of")
    return {**table, "tier": [{**tier, "share": given[name]} for name, tier in tiers.items() if name in given]}


def _failures(where: str, given: object) -> Failures:
    failures = _section(where, given, Failures)
    total = failures.dropout + failures.late + failures.vanish
    if total > 1:
        raise UserError(f"{where}: dropout, late and vanish sum to {total:g}, which is more than 1")
    return failures


def _availability(where: str, given: object) -> Chain | Trace | None:
    """A chain of two states, or the trace that a file holds."""
    if given is None:
        return None
    table = as_table(where, given)
    if "trace" in table:
        check_keys(where, table, {"trace"}, set())
        return read_trace(Path(str(table["trace"])))
    return _section(where, table, Chain)


def _where(label: str, index: int, entry: object) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"scenario {label}, tier {name or index + 1}"


def _section(where: str, given: object, kind: type[Section]) -> Section:
    """A table as a dataclass of numbers (and of texts where the field is one)."""
    table = as_table(where, given)
    known = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    check_keys(where, table, set(known), {n for n, item in known.items() if item.default is dataclasses.MISSING})
    values: dict[str, object] = {}
    for key, value in table.items():
        if known[key].type is str:
            values[key] = str(value)
        elif known[key].type is int:
            values[key] = _precision(where, key, _sourced(where, key, value, zero=False))
        elif known[key].type is Limits:
            values[key] = _section(f"{where}, [{key}]", value, Limits)
        else:
            values[key] = _sourced(where, key, value, zero=known[key].default == 0)
    return kind(**values)


def _precision(where: str, key: str, given: float) -> int:
    if given not in BITS:
        raise UserError(f"{where}: {key} is {given:g}; it must be 32, 16 or 8")
    return int(given)


def _sourced(where: str, key: str, given: object, zero: bool) -> float:
    """A plain number, or a table ``{ value = ..., source = "..." }``; ``zero``: whether it may be 0."""
    if isinstance(given, dict):
        check_keys(f"{where}, {key}", given, {"value", "source"}, {"value"})
        given = given["value"]
    return number(where, key, given, most=1.0 if key in PROPORTIONS else LARGEST, zero=zero)
