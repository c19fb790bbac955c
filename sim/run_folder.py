"""A run is a folder: what it is, what has been done, and everything needed to go on.

Rows are kept in one Parquet part for each (seed, method, round) until the run is complete; a part appears whole or not
at all, so a run that was killed anywhere continues with the first part that is missing.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from core.errors import UserError
from core.run_config import read_config
from sim.config import Config, to_toml
from strategies.registry import METHODS

PARTS = "parts"
_LEFT = re.compile(r"world|run\.log|config\.toml\.\d+\.tmp")
"""What a start leaves that was interrupted before ``config.toml``, the last that it writes; the next one writes it all
again."""


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def open(config: Config) -> "RunFolder":
        """Create the folder, or find it with the same configuration.

        Raises :class:`UserError` if it belongs to another configuration or holds something else.
        """
        path = config.folder
        marker = path / "config.toml"
        if path.exists() and not path.is_dir():
            raise UserError(f"--out {path} is a file; name a folder")
        if marker.exists():
            try:
                found = tomllib.loads(marker.read_text(encoding="utf-8"))["run"]["identity"]
            except (tomllib.TOMLDecodeError, KeyError):
                raise UserError(f"{marker} is damaged; remove the folder or choose another --out") from None
            if found != config.identity():
                raise UserError(
                    f"{path} belongs to another configuration ({found}, this one is {config.identity()}); "
                    "choose another --out or remove it"
                )
        elif path.exists() and not all(_LEFT.fullmatch(entry.name) for entry in path.iterdir()):
            raise UserError(f"{path} exists and is no run folder; choose another --out")
        return RunFolder(path)

    # -- parts ------------------------------------------------------------------------------------------------------

    def part(self, seed: int, method: str, server_round: int) -> Path:
        """Where the rows of one round go."""
        return self.path / PARTS / f"{seed}-{method}-{server_round:05d}.parquet"

    def save_part(self, seed: int, method: str, server_round: int, rows: pd.DataFrame) -> None:
        """Write the rows of one round, whole or not at all."""
        path = self.part(seed, method, server_round)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, rows)

    def gather(self, seeds: list[int], methods: list[str], rounds: int) -> pd.DataFrame:
        """All rows, in the order of seeds, methods, rounds and devices."""
        paths = [self.part(s, m, r) for s in seeds for m in methods for r in range(1, rounds + 1)]
        return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)

    # -- whole run --------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Path:
        """The finished run's rows."""
        return self.path / "sessions.parquet"

    @property
    def reported(self) -> bool:
        """Whether the run is finished and its report written."""
        return self.sessions.exists() and (self.path / "report.html").exists()

    @property
    def models(self) -> Path:
        """Trained cloud models, links into the cache where the file system allows."""
        return self.path / "models"

    @property
    def world(self) -> Path:
        """The simulated devices' own disks."""
        return self.path / "world"

    @property
    def log(self) -> Path:
        """What Flower, Ray and torch have to say."""
        return self.path / "run.log"

    @property
    def begun(self) -> bool:
        """Whether an earlier start has written down what this run is."""
        return (self.path / "config.toml").exists()

    def check_data(self, data: Mapping[str, object]) -> None:
        """Raise :class:`UserError` if the run was begun with other data: the name of a data set says not which release
        a folder holds."""
        found = read_config(self.path, "data")["data"]
        for name in ("name", "users", "items", "interactions", "events", "sessions"):
            if found[name] != data[name]:
                raise UserError(
                    f"{self.path} was begun with other data ({name}: {found[name]}, now {data[name]}); "
                    "choose another --out or the --data-dir of then"
                )

    def finish(self, rows: pd.DataFrame) -> None:
        """Write ``sessions.parquet`` and drop the parts."""
        write_whole(self.sessions, rows)
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def describe(self, config: Config, data: Mapping[str, object], facts: Mapping[str, object]) -> None:
        """Write ``config.toml``: the resolved options, what the files say that they name, of each method whose model it
        deploys and what its devices do to get their network, the data and what they say, the versions."""
        run: dict[str, object] = {
            "identity": config.identity(),
            **{key.replace("-", "_"): value for key, value in config.to_flat().items()},
            "methods": config.method_names,
            "blocks": config.resolved_blocks,
            "context": config.resolved_context,
            "memory": config.resolved_memory,
        }
        for key in ("out", "quiet", "data_dir", "tensorboard"):
            run.pop(key, None)
        packages = ("flwr", "torch", "numpy", "pandas", "ray")
        versions = {name: version(name) for name in packages}
        methods = {name: METHODS[name] for name in config.method_names}
        tables: dict[str, Mapping[str, object]] = {
            "run": run,
            "contents": config.contents(),
            "models": {name: method.cloud_model for name, method in methods.items()},
            "actions": {
                name: getattr(method, "train_action", method.evaluate_action) for name, method in methods.items()
            },
            "data": data,
            "data_facts": facts,
            "versions": versions,
        }
        text = to_toml(tables)
        write_text(self.path / "config.toml", text)


def write_whole(path: Path, frame: pd.DataFrame) -> None:
    """Parquet that appears whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    frame.to_parquet(temporary, index=False)
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Text that appears whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
