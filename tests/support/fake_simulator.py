"""Stands for the commands of the simulator where ``analysis.reproduce`` is tested."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.reproduce.runs import CommandFailed
from tests.support.fake_run import plausible_rows, write_run


class Simulator:
    """Writes run folders with known rows, and counts the calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.fails_after: int | None = None

    def __call__(self, module: str, words: Sequence[str]) -> None:
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise CommandFailed([module], 130)
        given = {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}
        self.calls.append({"module": module, **given})
        methods = given["methods"].split(",")
        seeds = range(int(given["seed"]), int(given["seed"]) + int(given["seeds"]))
        rows = plausible_rows(10, 2, methods, seeds, blocks=int(given["blocks"]))
        write_run(
            Path(given["out"]), rows, methods=methods, backbone=given["backbone"], blocks=int(given["blocks"]),
            dataset=given["dataset"], protocol="paper", context=int(given.get("context", 5)), memory=5,
        )  # fmt: skip


def written(folder: Path, target: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{target}.csv")
