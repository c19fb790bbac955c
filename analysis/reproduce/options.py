"""What the user may choose, and the ``sim.run`` options that follow from it."""

import argparse
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from analysis.reproduce import paper
from core.errors import UserError

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

OURS = "forward-ofa"
"""The paper's method."""

PENALTIES = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Options:
    """Of one call of ``python -m analysis.reproduce``."""

    dataset: str = "synthetic"
    backbone: str = "both"
    blocks: int | None = None
    devices: int | None = None
    protocol: str = "paper"
    epochs: int | None = None
    seed: int = 0
    seeds: int = 1
    accelerator: str = "auto"
    also: tuple[str, ...] = ()
    """Methods that the paper does not have, shown beside its own."""
    penalties: tuple[float, ...] = PENALTIES
    more: tuple[str, ...] = ()
    """Further ``sim.run`` options, as they are."""
    data_dir: Path | None = None
    out: Path | None = None

    @property
    def backbones(self) -> list[str]:
        """The backbones to run."""
        return list(paper.BACKBONES) if self.backbone == "both" else [self.backbone]

    @property
    def num_devices(self) -> int:
        """How many devices to simulate."""
        return self.devices if self.devices is not None else DEVICES.get(self.dataset, FEW)

    @property
    def adaptive(self) -> list[str]:
        """Forward-OFA, and what else was asked for whose devices choose their blocks."""
        return [OURS, *(method for method in self.also if method.startswith(OURS))]

    def num_blocks(self, backbone: str, small: bool = False) -> int:
        """Blocks of a backbone; ``small``: of the smaller baselines of Table 4, a third of it."""
        full = self.blocks if self.blocks is not None else paper.BLOCKS[backbone]
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
        chosen |= others
        return [word for key, value in chosen.items() for word in (f"--{key}", str(value))] + list(self.more)

    def command(self, target: str) -> str:
        """The command line that gives this result again; paths of this machine are left out."""
        words = ["python", "-m", "analysis.reproduce", target]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("more", "data_dir", "out") or value == item.default:
                continue
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{item.name}", Path(text).name if item.name == "dataset" else text]
        return shlex.join([*words, *(["--", *self.more] if self.more else [])])


def parse(arguments: Sequence[str], targets: Sequence[str]) -> tuple[list[str], Options]:
    """The targets and the options; raises :class:`UserError` for what cannot be."""
    ours, more = _divide(list(arguments))
    parser = argparse.ArgumentParser(
        prog="python -m analysis.reproduce",
        description="Reproduce tables and figures of the paper, beside the paper's numbers.",
        epilog="What follows -- goes to every sim.run as it is: -- --cloud-users all",
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=", ".join(targets))
    parser.add_argument(
        "--dataset",
        default="synthetic",
        help="ml1m, ml10m, amazon-game, amazon-food, synthetic or a CSV file (default: synthetic)",
    )
    parser.add_argument("--backbone", default="both", choices=(*paper.BACKBONES, "both"), help="(default: both)")
    parser.add_argument("--blocks", type=int, help="blocks of the backbone (default: 6 for sasrec, 12 for nextitnet)")
    parser.add_argument(
        "--devices", type=int, help=f"users that are simulated (default: all of MovieLens, of other data {FEW})"
    )
    parser.add_argument(
        "--protocol",
        default="paper",
        choices=tuple(PROTOCOLS),
        help="both test on each user's last item; paper: equally many epochs, context 5, last position only; tuned: "
        "early stopping, context 10, 50 items to adapt from, every position (default: paper)",
    )
    parser.add_argument("--epochs", type=int, help="of cloud training (default: 20; with tuned at most 60)")
    parser.add_argument("--seed", type=int, default=0, help="the first one (default: 0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many trainings (default: 1)")
    parser.add_argument("--accelerator", default="auto", choices=("auto", "cpu", "cuda"), help="(default: auto)")
    parser.add_argument(
        "--also",
        type=_names,
        default=(),
        metavar="METHODS",
        help="methods of sim.run that the paper does not have, to show beside its own in tables 1, 2, 3, 4 and 7, and "
        "those whose devices choose their blocks in figures 4 and 6 (forward-ofa-plus); separated by commas",
    )
    parser.add_argument(
        "--penalties",
        type=_numbers,
        default=PENALTIES,
        help=f"values of lambda for figure5, separated by commas (default: {','.join(map(str, PENALTIES))})",
    )
    parser.add_argument("--data-dir", type=Path, help="where raw data files are looked for first")
    parser.add_argument("--out", type=Path, help="folder of the results (default: below runs/reproduce)")
    given = vars(parser.parse_args(ours))
    chosen = list(dict.fromkeys(given.pop("targets")))
    for target in chosen:
        if target not in targets:
            raise UserError(f"there is no target '{target}'; choose from: {', '.join(targets)}")
    for name in ("blocks", "devices", "epochs", "seeds"):
        if given[name] is not None and given[name] < 1:
            raise UserError(f"--{name} is {given[name]}; it must be at least 1")
    return chosen, Options(**given, more=tuple(more))


def short_hash(facts: object) -> str:
    """Eight hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:8]


def _divide(words: list[str]) -> tuple[list[str], list[str]]:
    return (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))
