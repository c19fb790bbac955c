"""How fast a file of interactions loads: `python -m benchmarks.loading [--rows 30000000] [--form csv|dat|iso|gz]`.

Writes a file of made-up interactions with about 150 rows a user, as MovieLens-32M has, in blocks of users and not in
the order of time, loads it in a process of its own, and prints rows a second and that process's peak memory.
"""

import argparse
import gzip
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

FORMS = {
    "csv": ("rows.csv", "userId,movieId,rating,timestamp", ",", None),
    "dat": ("ratings.dat", "", "::", "user=0,item=1,time=3"),
    "iso": ("rows.csv", "userId,movieId,rating,timestamp", ",", None),
    "gz": ("rows.csv.gz", "userId,movieId,rating,timestamp", ",", None),
}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.loading", description="How fast a file loads.")
    found.add_argument("--rows", type=int, default=30_000_000, help="rows of the file (default: 30 million)")
    found.add_argument("--form", choices=FORMS, default="csv", help="form of the file (default: csv)")
    found.add_argument("--repeats", type=int, default=1, help="times that it is loaded (default: 1)")
    found.add_argument("--out", type=Path, help="CSV file with a line for each time")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import pandas as pd

from sim.data import load

ROWS_OF_A_USER = 150
ITEMS = 85_000
BEGIN, SPAN = 1_000_000_000, 500_000_000  # seconds
BLOCK = 500_000  # rows that are written at once


def write(path: Path, rows: int, form: str) -> None:
    """Write so many rows in one of FORMS."""
    random = np.random.default_rng(0)
    _, header, separator, _ = FORMS[form]
    with gzip.open(path, "wb", compresslevel=1) if path.suffix == ".gz" else path.open("wb") as file:
        if header:
            file.write(f"{header}\n".encode())
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            users = (first + np.arange(count)) // ROWS_OF_A_USER + 1
            items = (ITEMS * random.random(count) ** 3).astype(np.int64) + 1
            moments = BEGIN + random.integers(0, SPAN, count)
            ratings = random.integers(1, 11, count) / 2
            written = np.datetime_as_string(moments.astype("datetime64[s]")) if form == "iso" else moments
            columns = zip(users.tolist(), items.tolist(), ratings.tolist(), written.tolist(), strict=True)
            file.write("".join(f"{separator.join(map(str, row))}\n" for row in columns).encode())


def measure(path: str, columns: str | None) -> tuple[int, float, float, float]:
    """Load the file; returns interactions, seconds, processor seconds, and this process's peak memory in megabytes."""
    started, busy = time.perf_counter(), time.process_time()
    interactions = load(path, columns=columns)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return interactions.num_interactions, seconds, busy, peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, load, print; returns the exit status."""
    options = parser().parse_args(arguments)
    name, _, _, columns = FORMS[options.form]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path, options.rows, options.form)
        size = path.stat().st_size
        rows = []
        for _ in range(options.repeats):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                count, seconds, busy, megabytes = pool.apply(measure, (str(path), columns))
            print(
                f"{options.form}: {count:,} rows ({size / 1e6:,.0f} MB) in {seconds:.1f} s, {busy:.1f} s of processors"
            )
            print(f"{count / seconds:,.0f} rows a second, peak memory {megabytes:,.0f} MB", flush=True)
            row = {"form": options.form, "rows": count, "file_mb": size / 1e6, "seconds": seconds}
            rows.append(row | {"processor_s": busy, "rows_per_s": count / seconds, "peak_mb": megabytes})
    if options.out is not None:
        pd.DataFrame(rows).to_csv(options.out, index=False, float_format="%.6g")
    return 0


if __name__ == "__main__":
    sys.exit(main())
