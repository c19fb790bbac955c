"""Device mixes: what the simulated devices can do, read from TOML, and which device is which.

Every number in a shipped file names its source.
"""

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import numpy as np

from models.seeds import numpy_generator
from sim.config import unknown
from sim.errors import UserError


@dataclass(frozen=True)
class Tier:
    """One kind of device."""

    name: str
    share: float
    """Of the population, from 0 to 1."""
    gflops: float
    """Effective compute, 10^9 floating-point operations a second (two for each multiply-accumulate)."""
    downlink_mbit_s: float
    uplink_mbit_s: float
    picojoule_per_mac: float
    nanojoule_per_bit_down: float
    nanojoule_per_bit_up: float


@dataclass(frozen=True)
class Scenario:
    """A device mix."""

    name: str
    description: str
    cloud_gflops: float
    tiers: tuple[Tier, ...]

    def assign(self, devices: int, seed: int) -> np.ndarray:
        """The index of each device's tier, ``(D,)``; a device keeps its tier when others are added."""
        edges = np.cumsum([tier.share for tier in self.tiers])
        draws = numpy_generator(seed, "tiers").random(devices)
        return np.minimum(np.searchsorted(edges, draws, side="right"), len(self.tiers) - 1)


def shipped() -> list[str]:
    """Names of the device mixes that come with the project."""
    folder = resources.files("sim") / "scenarios"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_scenario(name: str) -> Scenario:
    """The device mix of a name or a TOML file; raises :class:`UserError` for anything that cannot be."""
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"scenario file {path} does not exist")
        text, label = path.read_text(encoding="utf-8"), path.stem
    else:
        if name not in shipped():
            raise UserError(unknown("scenario", name, [*shipped(), "or a TOML file"]))
        text, label = (resources.files("sim") / "scenarios" / f"{name}.toml").read_text("utf-8"), name
    try:
        return _parse(label, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"scenario {name} is not valid TOML: {error}") from None


def _parse(name: str, table: dict[str, object]) -> Scenario:
    _keys(f"scenario {name}", table, {"description", "cloud", "tier"})
    cloud = _table(f"scenario {name}, [cloud]", table.get("cloud"))
    _keys(f"scenario {name}, [cloud]", cloud, {"gflops"})
    entries = table.get("tier")
    if not isinstance(entries, list) or not entries:
        raise UserError(f"scenario {name} has no [[tier]]")
    tiers = tuple(_tier(f"scenario {name}, tier {i + 1}", entry) for i, entry in enumerate(entries))
    total = sum(tier.share for tier in tiers)
    if abs(total - 1) > 1e-6:
        raise UserError(f"scenario {name}: the shares of its tiers sum to {total:g}, not to 1")
    gflops = _number(f"scenario {name}, [cloud]", "gflops", cloud["gflops"])
    return Scenario(name, str(table.get("description", "")), gflops, tiers)


def _tier(where: str, entry: object) -> Tier:
    table = _table(where, entry)
    _keys(where, table, {item.name for item in fields(Tier)})
    numbers = {k: _number(where, k, v) for k, v in table.items() if k != "name"}
    return Tier(name=str(table["name"]), **numbers)


def _number(where: str, key: str, given: object) -> float:
    """A plain number, or a table ``{ value = ..., source = "..." }``."""
    value = given.get("value") if isinstance(given, dict) else given
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {key} is {value!r}, not a number")
    if not value > 0:
        raise UserError(f"{where}: {key} is {value}; it must be greater than 0")
    return float(value)


def _table(where: str, given: object) -> dict[str, object]:
    if not isinstance(given, dict):
        raise UserError(f"{where} is missing or no table")
    return given


def _keys(where: str, table: dict[str, object], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"{where}: {unknown('key', key, sorted(known))}")
    for key in sorted(known - set(table) - {"description", "tier"}):
        raise UserError(f"{where}: {key} is missing")
