"""How much there is to gain for a method that adapts: its sessions played again by networks that no device could have.

    python -m replay.ceiling RUN [--method duet-plus] [--sample 100] [--out DIR]

Plays the sessions of a finished run again, with networks of other devices and with networks that know the future
(:mod:`replay.oracles`), prints a table and writes ``ceiling.csv`` to the run folder. Each network is compared with what
the method's devices ask for themselves, and with the run's DeviceRec, in the device-sessions that both have.
Differences are paired over devices, which are drawn together over seeds. Devices ask before every session, and budgets
play no part.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.cli import run as run_command


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m replay.ceiling", description="How much is there to gain for a method that adapts?"
    )
    found.add_argument("run", type=Path, help="folder of a finished run that played the method")
    found.add_argument(
        "--method", action="append", help="may be repeated (default: all of the run whose cloud makes networks)"
    )
    found.add_argument(
        "--seed", action="append", type=int, help="may be repeated: which of the run's trainings (default: all)"
    )
    found.add_argument("--devices", type=int, help="devices that are played again, drawn at random (default: all)")
    found.add_argument(
        "--sample",
        type=int,
        default=100,
        help="of them those whose paths are tried and that are trained (default: 100)",
    )
    found.add_argument("--out", type=Path, help="where the CSV file goes (default: the run folder)")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from analysis import load
from analysis.stats import BASELINE, paired
from analysis.tables import console
from core import atomic
from core.errors import UserError
from core.seeds import numpy_generator
from replay import oracles
from replay.counterfactual import PlayedSessions, chunks, partners
from strategies.adaptive import AdaptiveStrategy
from strategies.registry import METHODS

MEANINGS = {
    "own": "what its devices ask for",
    "swapped": "another device's path, weights made for it",
    "all-blocks": "all blocks, weights made for it",
    "other": "another device's network",
    "this": "made of the session's own items, too *",
    "next": "made of the next session's items, too",
    "since": "made of the items since its interest changed",
    "path": "the best path for each session *",
    "path-else": "the best path in its other sessions",
    "tuned": "trained on its whole live stream *",
    "tuned-else": "trained on every other session",
}
"""What each network is; the starred ones know the answers."""
MEASURES = ("delta", "low", "high")


def replay(run: Path, method: str, seed: int, sample: int, devices: int | None = None) -> pd.DataFrame:
    """One row for each device-session and network: ``device, session, network, events, hits, ndcg, path, blocks``.

    Of as many ``devices`` (None: all), and for what takes long of ``sample`` of these, the same for all methods and
    seeds. Raises :class:`UserError` as :class:`replay.counterfactual.PlayedSessions` does.
    """
    played = PlayedSessions(run, method, seed)
    drawn = numpy_generator(0, "ceiling").permutation(np.unique(played.device_sessions[:, 0]))[:devices]
    played.keep(drawn)
    everyone, chooses = np.arange(len(played)), played.part.controller is not None
    paths, latents = played.requests(played.before(everyone))
    whose = partners(played.device_sessions[:, 0], numpy_generator(seed, "swaps"))
    frames = []
    for rows in chunks(everyone):
        frames.append(played.play_made("own", rows, paths[rows], latents[rows]))
        frames.append(played.play_made("other", rows, paths[whose[rows]], latents[whose[rows]]))
        if chooses:
            frames.append(played.play_on("swapped", rows, paths[whose[rows]]))
            frames.append(played.play_on("all-blocks", rows, np.ones_like(paths[rows])))
    frames += [oracles.future(played), *oracles.since_change(played)]
    some = np.sort(drawn[:sample])
    if chooses:
        frames.append(oracles.every_path(played, np.flatnonzero(np.isin(played.device_sessions[:, 0], some))))
    frames.append(oracles.tuned(played, some))
    return pd.concat(frames, ignore_index=True)


def makes_networks(method: str) -> bool:
    """Whether the cloud makes each device's network, by a model of the method's own."""
    kind = METHODS.get(method)
    return kind is not None and issubclass(kind, AdaptiveStrategy) and kind.cloud_model == method


def compare(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """One row a network: quality, and its differences to ``own`` and to DeviceRec, in percent of these, each in the
    device-sessions that both have, with a 95 % interval over devices.

    ``rows`` as :func:`replay` gives them, with the seed, of one seed or several; ``base`` the run's rows of DeviceRec,
    which may be empty.
    """
    own, out = rows[rows["network"] == "own"], []
    for network in [name for name in MEANINGS if name in set(rows["network"])]:
        mine = rows[rows["network"] == network]
        found: dict[str, object] = {
            "network": network,
            "devices": mine["device"].nunique(),
            "sessions": len(mine),
            "events": int(mine["events"].sum()),
            "ndcg@10": mine["ndcg"].sum() / mine["events"].sum(),
            "hit@10": mine["hits"].sum() / mine["events"].sum(),
            "blocks": float(mine["blocks"].mean()),
        }
        found |= {f"own_{name}": value for name, value in difference(own, mine).items()} if network != "own" else {}
        found |= {f"{BASELINE}_{name}": value for name, value in difference(base, mine).items()}
        out.append(found)
    return pd.DataFrame(out)


def difference(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, float]:
    """NDCG@10 of ``first``, and how far that of ``second`` is from it, in percent of it, in the device-sessions that
    both have; empty if they have none."""
    key = ["seed", "device", "session"]
    both = first[[*key, "ndcg", "events"]].merge(second[[*key, "ndcg", "events"]], on=key, suffixes=("_1", "_2"))
    sums = both.groupby("device").sum()
    level = sums["ndcg_1"].sum() / sums["events_1"].sum() if sums["events_1"].sum() else 0.0
    if not level > 0:
        return {}
    found = paired(
        (sums["ndcg_1"].to_numpy(float), sums["ndcg_2"].to_numpy(float)),
        (sums["events_1"].to_numpy(float), sums["events_2"].to_numpy(float)),
    )
    percents = {f"{name}_percent": 100 * getattr(found, name) / level for name in MEASURES}
    return {"ndcg@10": level, **percents, "p": found.p}


def show(table: pd.DataFrame, heading: str) -> Table:
    """The table for the terminal."""
    shown = Table(title=heading, box=box.SIMPLE, title_justify="left", caption="* knows the answers", min_width=100)
    against = [name for name in ("own", BASELINE) if f"{name}_delta_percent" in table]
    heads = {"own": "to its own, %", BASELINE: "to DeviceRec, %"}
    for name in ("network", "devices", "NDCG@10", "blocks", *(heads[name] for name in against)):
        shown.add_column(name, justify="left" if name == "network" else "right")
    for row in table.to_dict("records"):
        cells = [f"{row['devices']:,}", f"{row['ndcg@10']:.4f}", f"{row['blocks']:.2f}"]
        for name in against:
            values = [row[f"{name}_{end}_percent"] for end in MEASURES]
            cells.append("" if np.isnan(values[0]) else "{:+.1f} ({:+.1f} to {:+.1f})".format(*values))
        shown.add_row(MEANINGS[row["network"]], *cells)
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 for what the user can mend."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    for name in ("sample", "devices"):
        if (count := getattr(given, name)) is not None and count < 1:
            raise UserError(f"--{name} is {count}; it must be at least 1")
    run = load(given.run)
    seeds = given.seed or run.seeds
    methods = given.method or [name for name in run.methods if makes_networks(name)]
    if not methods:
        raise UserError(f"{given.run} played no method whose cloud makes networks; play it with --methods duet-plus")
    base, tables, shown = run.sessions[run.sessions["method"] == BASELINE], [], console()
    for method in methods:
        rows = pd.concat(
            [replay(given.run, method, seed, given.sample, given.devices).assign(seed=seed) for seed in seeds],
            ignore_index=True,
        )
        table = compare(rows, base)
        tables.append(table.assign(method=method))
        shown.print(show(table, f"{run.title(method)}: {rows['device'].nunique():,} devices, seeds {seeds}"))
    whole = pd.concat(tables, ignore_index=True)
    whole.insert(0, "method", whole.pop("method"))
    folder = given.out or given.run
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write(folder / "ceiling.csv", whole.to_csv(index=False, float_format="%.6g"))


if __name__ == "__main__":
    sys.exit(main())
