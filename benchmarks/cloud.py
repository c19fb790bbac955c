"""How many networks the cloud makes a second, beside what the machine's matrix and memory rates allow.

    python -m benchmarks.cloud
    python -m benchmarks.cloud --batches 64 --rounds 5 --out cloud.csv

A network is all blocks of one device. Its limit is the longer of two times: its multiply-accumulates at the rate of a
large fp32 product, and the bytes that have to move at the rate of a large copy: the network is written, and what all
networks of a batch are made of is read once for the batch. Mappers and limits take turns, and every share is taken
within a round; the table has medians over the rounds. Times are processor times of one thread.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from benchmarks.trees import check_places
from core.cli import run as run_command
from core.errors import UserError


@dataclass(frozen=True)
class Options:
    """Measure how fast the cloud makes networks."""

    batches: tuple[int, ...] = (1, 16, 64, 256)
    """networks that are made at once"""
    blocks: int = 6
    """of the backbone, SASRec"""
    rounds: int = 5
    """in each of which everything is measured once"""
    seconds: float = 0.3
    """least processor time of one measurement"""
    out: Path | None = None
    """write the table to this CSV file too"""

    def check(self) -> "Options":
        """Raise :class:`UserError` for the first option that cannot be."""
        for option, value in (("batches", min(self.batches)), ("blocks", self.blocks), ("rounds", self.rounds)):
            if value < 1:
                raise UserError(f"--{option} is {value}; it must be at least 1")
        check_places(self.out)
        return self


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import pandas as pd
import torch

from benchmarks.machine import SIZE
from core.threads import one_thread
from models.backbones.base import DIM, BlockWeights
from models.backbones.sasrec import SASRec
from models.hypernetwork import LowRankMapper, Mapper, block_weights

COPIED = 64 * 2**20
"""Bytes of the copy that gives the memory rate: more than any cache holds."""


def spent(work: Callable[[], object], seconds: float) -> float:
    """Processor seconds of one call, the least of those in so many seconds."""
    times: list[float] = []
    while sum(times) < seconds:
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def bytes_moved(mapper: Mapper | LowRankMapper, batch: int) -> int:
    """What making a batch of networks has to move: each is written, and the mapper's numbers are read once."""
    written = batch * sum(base.numel() for base in mapper.base)
    return 4 * (written + sum(weights.numel() for weights in mapper.parameters()))


def make_all(weights: BlockWeights, blocks: int) -> None:
    """Make every block for every device of the batch."""
    for k in range(blocks):
        weights(k, None)


@torch.inference_mode()
def run_round(mappers: list[Mapper | LowRankMapper], options: Options) -> pd.DataFrame:
    """Measure the limits and every mapper with every batch once: one row a mapper and batch."""
    left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    matrix_rate = SIZE**3 / spent(lambda: left @ right, options.seconds)
    memory_rate = 2 * COPIED / spent(lambda: target.copy_(source), options.seconds)  # read, and written
    rows = []
    for mapper in mappers:
        for batch in options.batches:
            latent = torch.randn(batch, DIM).tanh()
            weights = block_weights(mapper.block, latent)
            taken = spent(partial(make_all, weights, options.blocks), options.seconds)
            computing = batch * mapper.macs(options.blocks) / matrix_rate
            moving = bytes_moved(mapper, batch) / memory_rate
            rows.append(
                {
                    "mapper": mapper.kind,
                    "batch": batch,
                    "networks_per_s": batch / taken,
                    "of_matrix_rate": computing / taken,
                    "of_memory_rate": moving / taken,
                    "of_limit": max(computing, moving) / taken,
                    "gmacs_per_s": matrix_rate / 1e9,
                    "gbytes_per_s": memory_rate / 1e9,
                }
            )
    return pd.DataFrame(rows)


def benchmark(options: Options) -> pd.DataFrame:
    """Medians over the rounds, one row a mapper and batch."""
    generator = torch.Generator().manual_seed(0)
    backbone = SASRec(1, options.blocks, 10, generator)
    mappers: list[Mapper | LowRankMapper] = [kind(backbone, generator).eval() for kind in (Mapper, LowRankMapper)]
    with one_thread():
        rounds = [run_round(mappers, options) for _ in range(options.rounds)]
    return pd.concat(rounds).groupby(["mapper", "batch"], sort=False).median().reset_index()


def main() -> int:
    """Exit status: 0 done, 2 for what the user can mend."""
    options = tyro.cli(Options, description=__doc__)
    return run_command(lambda: _run(options.check()))


def _run(options: Options) -> None:
    found = benchmark(options)
    print(found.to_string(index=False, float_format="{:,.2f}".format))
    if options.out is not None:
        found.to_csv(options.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    sys.exit(main())
