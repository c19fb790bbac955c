"""What becomes of a finished run's sessions if devices run other blocks, or another device's network.

Every session of the run is played again from what the devices have on their disks, with the run's own models:

* ``own``: the path that the device's controller chooses, with the weights that the cloud makes for it;
* ``swapped``: the path of another device, with the weights that the cloud makes for this device and that path; the same
  paths, so the same number of blocks, but dealt out at random;
* ``all-blocks``: every block, with the weights that the cloud makes for this device;
* ``other``: the whole network of that other device, path and weights.

If the choice of blocks means anything, ``swapped`` is worse than ``own``. Budgets play no part here, and devices ask
before every session. Where the cloud trained again (``--retrain``), each session is played with the version that it
ran, and the other device is one that ran that version, too: the paths and interests of one mean nothing to another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clients import inference
from clients.local_data import SessionEvents, Storage, recent, session_events
from clients.measurements import path_bits
from core.errors import UserError
from core.run_folder import RunFolder, finished_options, read_sessions
from core.seeds import numpy_generator
from models.candidates import Candidates
from models.checkpoint import Installed, check_model, load_device, load_mapper
from models.hypernetwork import Mapper, block_weights, generate
from sim.model_cache import model_path

NETWORKS = ("own", "swapped", "all-blocks", "other")
CHUNK = 256


def replay(run: Path, method: str, seed: int) -> pd.DataFrame:
    """One row for each device-session and network: ``device, session, network, events, hits, ndcg, path, blocks``.

    ``path`` has bit k set if block k ran. Of a run with ``--retrain``, sessions are left out whose version ran so often
    on one device that its sessions have not enough others to swap with; :class:`UserError` if that leaves none.

    Raises :class:`UserError` if the run is not finished or does not hold the method's model, or if the method's devices
    do not choose their blocks.
    """
    options, folder = finished_options(run), RunFolder(run)
    if not model_path(folder, method, seed).exists():
        raise UserError(f"{run} has no model of {method} with seed {seed}: play it with --methods {method}")
    folder.check_world()
    storage = Storage(folder.world)
    rows = read_sessions(run)
    mine = rows[(rows["method"] == method) & (rows["seed"] == seed)]
    versions = mine.get("version", pd.Series(0, mine.index))
    generator, frames = numpy_generator(seed, "swaps"), []
    for version, part in mine.groupby(versions, sort=True):
        device_sessions = part[["device", "session"]].to_numpy()
        if versions.max() > 0 and not can_swap(device_sessions[:, 0]):
            continue
        model = model_path(folder, method, seed, int(str(version)))
        check_model(model, method=method, seed=seed)
        installed = load_device(model)
        if installed.part.controller is None or installed.part.interest is None:
            raise UserError(f"--method {method}: its devices do not choose blocks to be made for them")
        whose = partners(device_sessions[:, 0], generator)
        frames.append(_replay(installed, load_mapper(model), storage, device_sessions, whose, options))
    if not frames:
        raise UserError(f"{run}: each version of {method} ran on too few devices for any to swap their networks")
    return pd.concat(frames, ignore_index=True)


def _replay(
    installed: Installed,
    mapper: Mapper,
    storage: Storage,
    device_sessions: np.ndarray,
    whose: np.ndarray,
    options: dict[str, Any],
) -> pd.DataFrame:
    """The rows of these device-sessions ``(N, 2)`` with one model; ``whose`` ``(N,)`` are their :func:`partners`."""
    part = installed.part
    asked = [inference.request(part, *_recent(storage, s, options["memory"])) for s in _chunks(device_sessions)]
    paths, latents = np.concatenate([one.path for one in asked]), torch.cat([one.latent for one in asked])
    frames = []
    for start in range(0, len(device_sessions), CHUNK):
        these = slice(start, start + CHUNK)
        events = _sessions(storage, device_sessions[these], options["context"], installed.candidates)
        for network in NETWORKS:
            own, other = paths[these], paths[whose[these]]
            path = {"own": own, "swapped": other, "all-blocks": np.ones_like(own), "other": other}[network]
            keep = torch.from_numpy(path)
            with torch.inference_mode():
                if network in ("own", "other"):
                    latent = latents[these] if network == "own" else latents[whose[these]]
                    weights = block_weights(mapper.block, latent)
                else:
                    history, lengths = _recent(storage, device_sessions[these], options["memory"])
                    weights = generate(part, mapper, history, lengths, keep)
                quality = inference.rerank(part, events, weights, keep)
            frames.append(
                pd.DataFrame(
                    {
                        "device": device_sessions[these, 0],
                        "session": device_sessions[these, 1],
                        "network": network,
                        "events": quality.events.numpy(),
                        "hits": quality.hits.numpy(),
                        "ndcg": quality.ndcg.numpy(),
                        "path": path_bits(path),
                        "blocks": path.sum(1),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def partners(devices: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For each of the device-sessions ``(N,)`` the row of another device's, ``(N,)``, each row dealt out once.

    Raises :class:`UserError` if that cannot be, see :func:`can_swap`.
    """
    order = np.argsort(devices, kind="stable")
    counts = np.bincount(devices)
    if not can_swap(devices):
        raise UserError("one device has more than half of the sessions: there are not enough others to swap with")
    # Sorted by device, a shift by at least the longest run and at most its complement leaves every device.
    shift = int(generator.integers(counts.max(), len(devices) - counts.max() + 1))
    out = np.empty_like(order)
    out[order] = np.roll(order, shift)
    return out


def can_swap(devices: np.ndarray) -> bool:
    """Whether each of the device-sessions ``(N,)`` can get another device's: none has more than half of them."""
    return len(devices) >= 2 * int(np.bincount(devices).max())


def _recent(storage: Storage, device_sessions: np.ndarray, memory: int) -> tuple[Tensor, Tensor]:
    return recent([np.asarray(storage.before(d, s)) for d, s in device_sessions.tolist()], memory)


def _sessions(storage: Storage, device_sessions: np.ndarray, context: int, candidates: Candidates) -> SessionEvents:
    before = [np.asarray(storage.before(d, s)) for d, s in device_sessions.tolist()]
    during = [np.asarray(storage.during(d, s)) for d, s in device_sessions.tolist()]
    return session_events(before, during, context, candidates)


def _chunks(device_sessions: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(device_sessions), CHUNK):
        yield device_sessions[start : start + CHUNK]
