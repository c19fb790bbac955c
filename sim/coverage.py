"""Which share of the catalogue a method recommends: the simulator's own look at the disks of the devices it simulates.

Devices tell the cloud numbers and never items, so coverage is nothing that the cloud could measure. Each device notes
on its own disk what it recommends (:mod:`clients.evaluation`); after a method has been played, the simulator unites
what all of them noted: the first ten items before each prediction, of every device-session that was played. Where a
device's disk cannot be reached, or a note is missing or damaged, the coverage is not known; it is never that of a part.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clients.evaluation import LISTS
from core import atomic, schema, sealed
from core.errors import Damaged
from core.run_folder import COVERAGE, NODES, RunFolder, reason
from models.arithmetic import BITS
from models.checkpoint import INSTALLED, Installed, load_device
from models.delivery import WEIGHTS, Delivery
from models.misrecommendation import load_detector
from sim.first_month import first_month
from sim.policy.setup import detector_file
from sim.world.fleet import Fleet
from strategies.registry import METHODS

PLAYED = ("ok", "late", "vanished")
"""The statuses of device-sessions that were played, whether or not the measurements arrived."""


def lists_name(seed: object, method: object) -> str:
    """The folder, on each device's disk, for what a method recommends."""
    return f"{seed}-{method}"


def save_coverage(
    run: RunFolder,
    rows: pd.DataFrame,
    num_items: int,
    say: Callable[[str], None],
    computes: np.ndarray | None = None,
    fleet: Fleet | None = None,
    delivery: Delivery = WEIGHTS,
) -> None:
    """Write ``coverage.csv``: of each seed and method the items recommended, the items there are, the bits of the model
    that is installed on a device before its first session, in the mean over the devices, of which each ``computes``
    ``(D,)`` in so many bits (None: in single precision), and what the first month of the ``fleet`` takes.

    ``rows`` are those of the whole run. ``recommended`` is empty where it is not known, with a line to ``say``, and so
    is what was installed if the folder has no model.
    """
    found = []
    borrowed = _counted(run)
    for (seed, method), mine in rows.groupby(["seed", "method"], sort=False):
        name = lists_name(seed, method)
        recommended = borrowed.get(name)
        if recommended is None:
            try:
                recommended = len(recommended_items([disk / LISTS / name for disk in _disks(run)], mine))
            except Damaged as error:
                say(f"the coverage of {method}, seed {seed}, is not known: {reason(error)}")
        model = run.models / f"{METHODS[str(method)].cloud_model}-{seed}.safetensors"
        facts: dict[str, object] = {"recommended": recommended, "items": num_items}
        if model.exists():
            installed = load_device(model, delivery if METHODS[str(method)].deliveries else WEIGHTS)
            facts["bits_installed"] = bits = _installed_bits(installed, computes) + _detector_bits(run, seed, method)
            if fleet is not None:
                month = first_month(mine, fleet, bits)
                facts |= {"month_sessions": month.sessions, "month_bits": month.bits, "month_joules": month.joules}
        found.append({"seed": seed, "method": method, **facts})
    frame = pd.DataFrame(found, columns=["seed", "method", *schema.names(schema.COVERAGE)[2:]])
    frame = frame.astype({"recommended": "Int64", "bits_installed": "Int64"})
    atomic.write(run.path / COVERAGE, frame.to_csv(index=False))


def borrow_coverage(run: RunFolder, done: RunFolder, methods: Sequence[str]) -> None:
    """Take over from a finished run what ``methods`` recommended, whose rows are taken over: nobody will note it."""
    counted = pd.read_csv(done.path / COVERAGE)
    mine = counted.loc[counted["method"].isin(methods), ["seed", "method", "recommended"]]
    atomic.write(run.path / COVERAGE, mine.to_csv(index=False))


def _counted(run: RunFolder) -> dict[str, int]:
    """How many items were recommended by :func:`lists_name`, as far as the folder says so before it is finished."""
    if not (run.path / COVERAGE).exists():
        return {}
    counted = pd.read_csv(run.path / COVERAGE).dropna(subset=["recommended"])
    return {lists_name(seed, m): int(n) for seed, m, n in counted[["seed", "method", "recommended"]].to_numpy()}


def _installed_bits(installed: Installed, computes: np.ndarray | None) -> int:
    if computes is None:
        return installed.bits
    devices = {bits: int((computes == bits).sum()) for bits in BITS}
    return round(sum(many * installed.at(bits).bits for bits, many in devices.items() if many) / len(computes))


def _detector_bits(run: RunFolder, seed: object, method: object) -> int:
    """Of the mis-recommendation detector, where the request policy has one."""
    path = detector_file(run, f"{seed}-{method}")
    return load_detector(path).bits if path.exists() else 0


def clear_devices(run: RunFolder) -> None:
    """Remove what devices noted and what was installed on them: the run is finished."""
    places = [run.world / LISTS, run.world / NODES, run.world / INSTALLED, run.models / INSTALLED]
    for folder in places:
        shutil.rmtree(folder, ignore_errors=True)


def _disks(run: RunFolder) -> list[Path]:
    """The folders of the nodes that the simulator can reach."""
    return [run.world, *sorted(run.world.glob(f"{NODES}/*"))]


def recommended_items(folders: list[Path], rows: pd.DataFrame) -> np.ndarray:
    """The items that the device-sessions of a method recommended, ascending, from the notes in all ``folders``.

    Raises :class:`core.errors.Damaged` if a note is not to be believed, or one is missing of the device-sessions in
    ``rows`` that were played.
    """
    noted, items = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.int32)]
    for path in [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]:
        facts, arrays = sealed.read_tensors(path, "")
        sealed.expect(path, facts, {"kind": "recommended items", "of": path.parent.name}, "")
        noted.append(np.stack([arrays["devices"], arrays["sessions"]], axis=1))
        items.append(arrays["items"])
    have = set(map(tuple, np.concatenate(noted).tolist()))
    played = rows.loc[rows["status"].isin(PLAYED), ["device", "session"]]
    missing = [place for place in played.itertuples(index=False, name=None) if place not in have]
    if missing:
        device, session = missing[0]
        raise Damaged(
            f"{folders[0]} lacks the recommendations of {len(missing)} device-sessions (the first: device {device}, "
            f"session {session}); "
        )
    return np.unique(np.concatenate(items))
