"""Whether two run folders hold the same rows, to the last bit of every column.

    python -m tests.support.same_rows runs/before runs/after

Prints one line a column that differs and exits with 1; prints how many rows are equal and exits with 0.
"""

import sys
from pathlib import Path

import pandas as pd


def differences(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """What tells two tables apart, one line for each fact; nothing where :meth:`pandas.DataFrame.equals` holds."""
    if first.equals(second) and list(first.columns) == list(second.columns):
        return []
    if len(first) != len(second):
        return [f"{len(first)} rows against {len(second)}"]
    out = [f"column {name} is in one of them only" for name in first.columns.symmetric_difference(second.columns)]
    for name in first.columns.intersection(second.columns):
        one, other = first[name], second[name]
        if one.dtype != other.dtype:
            out.append(f"column {name}: {one.dtype} against {other.dtype}")
        elif not one.equals(other):
            unequal = ~((one == other) | (one.isna() & other.isna())).to_numpy()
            row = int(unequal.argmax())
            where = ", ".join(f"{key} {first[key][row]}" for key in ("method", "device", "session") if key in first)
            out.append(f"column {name}: {unequal.sum()} rows differ, first {where}: {one[row]} against {other[row]}")
    return out or ["the columns stand in another order"]


def main(first: Path, second: Path) -> int:
    """Compare the ``sessions.parquet`` of two run folders and print what was found; the exit status."""
    rows = [pd.read_parquet(folder / "sessions.parquet") for folder in (first, second)]
    found = differences(*rows)
    print("\n".join(found) or f"equal: {len(rows[0])} rows of {len(rows[0].columns)} columns")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.support.same_rows FOLDER FOLDER")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
