"""What the user may choose, and the ``sim.run`` options that follow from it."""

import hashlib
import json
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import tyro

from core.errors import UserError, unknown
from core.paper import read

PROTOCOLS = {
    "paper": {"protocol": "paper"},
    "tuned": {
        "protocol": "paper",
        "context": "10",
        "memory": "50",
        "targets": "session",
        "learning-rate": "0.005",
        "patience": "8",
        "epochs": "60",
    },
}
"""As ``sim.run`` options. ``paper``: context 5, last position only, equal epochs, the last item is the test. ``tuned``:
the same split, but our own recipe; lambda and tau stay the paper's."""

DEVICES = {"ml1m": 6_040, "ml10m": 69_878}
"""How many devices by default: all users of MovieLens, and of other data :data:`FEW`."""

FEW = 300

BLOCKS = {"sasrec": 6, "nextitnet": 12}
"""Blocks of the paper's backbones; those of Table 4 have a third of them."""

WITH_METHODS = ("table1", "table2", "table3", "table4", "table7")
"""Tables of the paper whose rows are methods."""

OURS = "forward-ofa"
"""The paper's method."""


@dataclass(frozen=True)
class Options:
    """Reproduce tables and figures of the paper, beside the paper's numbers. What follows -- goes to every sim.run as
    it is: -- --cloud-users all"""

    targets: tyro.conf.Positional[tuple[str, ...]] = ()
    """table1 to table8, table1-epochs, figure4 to figure7"""
    dataset: str = "synthetic"
    """ml1m, ml10m, amazon-game, amazon-food, synthetic or a CSV file"""
    backbone: Literal["sasrec", "nextitnet", "both"] = "both"
    """network architecture"""
    blocks: int | None = None
    """blocks of the backbone (default: 6 for sasrec, 12 for nextitnet)"""
    devices: int | None = None
    """users that are simulated (default: all of MovieLens, of other data 300)"""
    protocol: Literal["paper", "tuned"] = "paper"
    """both test on each user's last item; paper: equally many epochs, context 5, last position only; tuned: early
    stopping, context 10, 50 items to adapt from, every position"""
    epochs: int | None = None
    """of cloud training (default: 20; with tuned at most 60)"""
    seed: int = 0
    """the first one"""
    seeds: int = 1
    """how many trainings"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """where the cloud trains"""
    methods: str = ""
    """the paper's methods to show in tables 1, 2, 3, 4 and 7, in place of all of a table, separated by commas"""
    also: str = ""
    """methods of sim.run that the paper does not have, to show beside its own in tables 1, 2, 3, 4 and 7, and those
    whose devices choose their blocks in figures 4 and 6 (forward-ofa-plus); separated by commas"""
    penalties: str = "0.0,0.001,0.005,0.01,0.05,0.1"
    """values of lambda for figure5, separated by commas"""
    data_dir: Path | None = None
    """where raw data files are looked for first"""
    out: Path | None = None
    """folder of the results (default: below runs/reproduce)"""
    more: tyro.conf.Suppress[tuple[str, ...]] = ()
    """further ``sim.run`` options, as they are"""

    @property
    def backbones(self) -> list[str]:
        """The backbones to run."""
        return list(BLOCKS) if self.backbone == "both" else [self.backbone]

    @property
    def num_devices(self) -> int:
        """How many devices to simulate."""
        return self.devices if self.devices is not None else DEVICES.get(self.dataset, FEW)

    @property
    def wanted(self) -> list[str]:
        """The paper's methods to show; none: all of them."""
        return _names(self.methods)

    @property
    def others(self) -> list[str]:
        """The methods that the paper does not have."""
        return _names(self.also)

    def shown(self, table: Collection[str]) -> list[str]:
        """Of a table's methods those that are wanted, in its order, and the others.

        Raises :class:`UserError` if the table has none of those that are wanted.
        """
        found = [method for method in table if not self.wanted or method in self.wanted]
        if not found:
            raise UserError(f"--methods {self.methods}: the table has none of them; it has: {', '.join(table)}")
        return found + self.others

    @property
    def adaptive(self) -> list[str]:
        """Forward-OFA, and what else was asked for whose devices choose their blocks."""
        return [OURS, *(method for method in self.others if method.startswith(OURS))]

    def num_blocks(self, backbone: str, small: bool = False) -> int:
        """Blocks of a backbone; ``small``: of the smaller baselines of Table 4, a third of it."""
        full = self.blocks if self.blocks is not None else BLOCKS[backbone]
        return max(1, full // 3) if small else full

    @property
    def folder(self) -> Path:
        """Where results go."""
        stem = Path(self.dataset).name.split(".")[0]
        facts = [self.dataset, self.blocks, self.protocol, self.epochs, self.seed, self.seeds, self.more]
        name = f"{stem}-{self.num_devices}-{self.protocol}-{short_hash(facts)}"
        return (self.out or Path("runs") / "reproduce" / name).expanduser().absolute()

    def run_options(self, backbone: str, methods: str, blocks: int, **others: object) -> list[str]:
        """The options of ``sim.run``, without where the data and the run folder are."""
        chosen: dict[str, object] = {
            "dataset": self.dataset,
            "devices": self.num_devices,
            "methods": methods,
            "backbone": backbone,
            "blocks": blocks,
            **PROTOCOLS[self.protocol],
            "seed": self.seed,
            "seeds": self.seeds,
        }
        if self.epochs is not None:
            chosen["epochs"] = self.epochs
        return [word for key, value in (chosen | others).items() for word in (f"--{key}", str(value))] + [*self.more]

    def command(self, target: str) -> str:
        """The command line that gives this result again; paths of this machine are left out."""
        words = ["python", "-m", "analysis.reproduce", target]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("targets", "more", "data_dir", "out") and value != item.default:
                words += [f"--{item.name}", Path(value).name if item.name == "dataset" else str(value)]
        return shlex.join([*words, *(["--", *self.more] if self.more else [])])


def parse(arguments: Sequence[str], targets: Sequence[str]) -> tuple[list[str], Options]:
    """The targets and the options; raises :class:`UserError` for what cannot be."""
    ours, more = list(arguments), []
    if "--" in ours:
        ours, more = ours[: ours.index("--")], ours[ours.index("--") + 1 :]
    options = tyro.cli(Options, prog="python -m analysis.reproduce", args=ours)
    chosen = list(dict.fromkeys(options.targets))
    for target in chosen or ["nothing"]:
        if target not in targets:
            raise UserError(f"there is no target '{target}'; choose from: {', '.join(targets)}")
    known = dict.fromkeys(m for table in WITH_METHODS for backbone in BLOCKS for m in read(table)[backbone])
    for method in options.wanted:
        if method not in known:
            raise UserError(unknown("method", method, known))
    for name in ("blocks", "devices", "epochs", "seeds"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}; it must be at least 1")
    return chosen, replace(options, more=tuple(more))


def _names(text: str) -> list[str]:
    """What commas separate, without empty names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def short_hash(facts: object) -> str:
    """Eight hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:8]
