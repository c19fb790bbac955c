"""Stands for the commands of the simulator where ``analysis.reproduce`` is tested."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.reproduce.runs import CommandFailed
from tests.support.fake_run import plausible_rows, plausible_training, write_run


class Simulator:
    """Writes run folders with known rows, and counts the calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.fails_after: int | None = None
        self.curves: dict[str, list[float]] = {}
        """Of methods that are trained: validation NDCG@10 after each epoch."""

    def __call__(self, module: str, words: Sequence[str]) -> None:
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise CommandFailed([module], 130)
        given = {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}
        self.calls.append({"module": module, **given})
        methods = given["methods"].split(",")
        seeds = range(int(given["seed"]), int(given["seed"]) + int(given["seeds"]))
        rows = plausible_rows(10, 2, methods, seeds, blocks=int(given["blocks"]))
        trained = [method for method in methods if method in self.curves]
        logs = [_training(method, seed, self.curves[method]) for method in trained for seed in seeds]
        write_run(
            Path(given["out"]), rows, pd.concat(logs) if logs else None, methods=methods, backbone=given["backbone"],
            blocks=int(given["blocks"]), dataset=given["dataset"], protocol="paper",
            context=int(given.get("context", 5)), memory=5,
        )  # fmt: skip


def _training(method: str, seed: int, curve: Sequence[float]) -> pd.DataFrame:
    known = plausible_training([method], [seed], len(curve))
    return known.assign(**{"valid_ndcg@10": curve})


def written(folder: Path, target: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{target}.csv")
