"""Several runs from one command: repeated options make one run for each combination of their values.

    python -m sim.run --drift abrupt --drift gradual --policy random --policy mrd --request-rate 0.1 --request-rate 0.3

plays ``abrupt-random-0.1``, ``abrupt-random-0.3``, ``abrupt-mrd-0.1`` and so on, each in a folder of its own below
``--out``. A policy that no budget can set (always, never, oracle, or one with its parameter given) is played once and
not for each budget, and a delivery without a code once and not for each ``--code-bits``. What does not depend on the
policy, on the drift or on the delivery is taken over from the runs before it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import atomic
from core.errors import UserError
from sim.config import Config, takes_rate
from strategies.registry import METHODS

if TYPE_CHECKING:
    from core.run_folder import RunFolder

OPTIONS = ("scenario", "drift", "session_length", "policy", "request_rate", "delivery", "code_bits")
"""What can be repeated; the first varies slowest."""
NUMBERS = {
    "request_rate": (float, "a number"),
    "code_bits": (int, "a whole number"),
    "session_length": (int, "a whole number"),
}
"""Those of them whose values are numbers: the type, and what it is called."""
ASKING: dict[str, Any] = {
    "policy": "always",
    "request_rate": None,
    "request_scope": "population",
    "compare_stale": False,
}
"""Options that say when devices ask, at their defaults: nothing changes with them for a method that does not adapt."""
DELIVERY: dict[str, Any] = {"delivery": "weights", "code_bits": 32}
"""Options that say what devices get, likewise."""


@dataclass(frozen=True)
class Sweep:
    """The values of the options that can be repeated, if one of them is; otherwise nothing."""

    values: dict[str, list[str]]

    def configs(self, config: Config) -> list[Config]:
        """The configuration of each run, checked before the first of them begins; ``config`` has the other options."""
        if not self.values:
            return [config.check().absolute()]
        from sim.world.drift import load_drift
        from sim.world.scenario import load_scenario

        policies = self.values.get("policy", [config.policy])
        for policy in policies:
            replace(config, policy=policy, request_rate=None).check()
        numbers = {option: [_number(option, text) for text in self.values.get(option, [])] for option in NUMBERS}
        rates, bits, lengths = (numbers[option] for option in ("request_rate", "code_bits", "session_length"))
        budgeted = [policy for policy in policies if rates and takes_rate(policy)]
        if rates and not budgeted:
            raise UserError(
                f"--request-rate: no policy of {', '.join(policies)} has a parameter that a budget could set"
            )
        ways = self.values.get("delivery", [config.delivery])
        if bits and "code" not in ways:
            raise UserError(f"--code-bits: there is no code with --delivery {', '.join(ways)}")
        deliveries = [(how, each) for how in ways for each in (bits if how == "code" and bits else [None])]
        for option in OPTIONS:
            names = [_name(str(value)) for value in numbers.get(option, self.values.get(option, []))]
            if twice := [name for name in names if names.count(name) > 1]:
                raise UserError(f"--{option.replace('_', '-')} names '{twice[0]}' twice")
        found = []
        for scenario, drift, length, policy in itertools.product(
            self.values.get("scenario", [config.scenario]),
            self.values.get("drift", [config.drift]),
            lengths or [config.session_length],
            policies,
        ):
            load_scenario(scenario)
            load_drift(drift)
            for rate, (how, each) in itertools.product(rates if policy in budgeted else [None], deliveries):
                own: dict[str, Any] = {"scenario": scenario, "drift": drift, "policy": policy, "request_rate": rate}
                own |= {"session_length": length, "delivery": how, "code_bits": each}
                name = "-".join(_name(str(own[o])) for o in self._repeated() if own[o] is not None)
                if each is None:
                    own["code_bits"] = config.code_bits
                found.append(replace(config, **own, out=config.out and config.out / name).check().absolute())
        return found

    def _repeated(self) -> list[str]:
        """The options that tell the runs apart."""
        return [option for option in OPTIONS if len(self.values.get(option, [])) > 1]


def split(arguments: Sequence[str]) -> tuple[list[str], Sweep]:
    """Take the options that can be repeated out of the arguments if one of them is; what is left, and the sweep."""
    rest: list[str] = []
    values: dict[str, list[str]] = {}
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        option = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and option in OPTIONS:
            values.setdefault(option, []).append(value if equals else next(words, ""))
        else:
            rest.append(word)
    repeated = any(len(given) > 1 for given in values.values())
    return (rest, Sweep(values)) if repeated else (list(arguments), Sweep({}))


def borrow(run: "RunFolder", config: Config, earlier: Sequence[Config]) -> None:
    """Take over from finished runs of the same sweep what is the same in ``run``: the rows of the methods that do not
    adapt, the thresholds (calibrated on histories, which no drift touches) and the mis-recommendation detectors."""
    from core.run_folder import RunFolder

    if run.sessions.exists():
        return
    for other in earlier:
        done = RunFolder(other.folder)
        if _same(config, other, **ASKING, **DELIVERY):
            _borrow_rows(run, done, config)
        if _same(config, other, drift="natural"):
            _copy(done.path / "policies", run.path / "policies", "*.json")
        if config.policy == other.policy and _same(config, other, drift="natural", **ASKING):
            _copy(done.models, run.models, "mrd-*.safetensors")


def _same(first: Config, second: Config, **leaving_out: Any) -> bool:
    """Whether two configurations differ in nothing else."""
    return replace(first, **leaving_out).identity() == replace(second, **leaving_out).identity()


def _borrow_rows(run: "RunFolder", done: "RunFolder", config: Config) -> None:
    from sim.coverage import borrow_coverage
    from sim.rows import upload_rows

    names = [name for name in config.method_names if not METHODS[name].adapts]
    if not names or run.part(config.seed, names[0], 1).exists():
        return
    rows = done.rows()
    rows = rows[rows["method"].isin(names)].dropna(axis="columns", how="all")
    for seed, name in itertools.product(config.seed_list, names):
        mine = rows[(rows["method"] == name) & (rows["seed"] == seed)]
        for session in mine["session"].unique().tolist():
            if config.uploads:  # a method that does not adapt asks for nothing
                run.save_uploads(seed, name, session + 1, upload_rows([], name, seed))
            run.save_part(seed, name, session + 1, mine[mine["session"] == session])
    borrow_coverage(run, done, names)


def _copy(source: Path, target: Path, pattern: str) -> None:
    for file in sorted(source.glob(pattern)):
        if not (target / file.name).exists():
            atomic.link(file, target / file.name)


def _number(option: str, text: str) -> Any:
    kind, name = NUMBERS[option]
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"--{option.replace('_', '-')} is '{text}', not {name}") from None


def _name(text: str) -> str:
    """Of a value in the name of a folder: ``drift:0.2`` becomes ``drift_0.2``, not what ``drift`` with a budget is."""
    return Path(text).stem if text.endswith(".toml") else text.replace(":", "_")
