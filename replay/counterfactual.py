"""What becomes of a finished run's sessions if devices run other blocks, or another device's network.

Every session of the run is played again from what the devices have on their disks, with the run's own models:

* ``own``: the path that the device's controller chooses, with the weights that the cloud makes for it;
* ``swapped``: the path of another device, with the weights that the cloud makes for this device and that path; the same
  paths, so the same number of blocks, but dealt out at random;
* ``all-blocks``: every block, with the weights that the cloud makes for this device;
* ``other``: the whole network of that other device, path and weights.

If the choice of blocks means anything, ``swapped`` is worse than ``own``. Budgets play no part here, and devices ask
before every session.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clients import inference
from clients.local_data import SessionEvents, Storage, recent, session_events
from clients.measurements import path_bits
from core.errors import UserError
from core.run_folder import RunFolder, finished_options, of_one_model, read_sessions
from core.seeds import numpy_generator
from models.candidates import Candidates
from models.checkpoint import check_model, load_device, load_mapper
from models.hypernetwork import block_weights, generate
from replay.networks import delivery_of

NETWORKS = ("own", "swapped", "all-blocks", "other")
CHUNK = 256


def replay(run: Path, method: str, seed: int) -> pd.DataFrame:
    """One row for each device-session and network: ``device, session, network, events, hits, ndcg, path, blocks``.

    ``path`` has bit k set if block k ran. Raises :class:`UserError` if the run is not finished or does not hold the
    method's model, or if the method's devices do not choose their blocks.
    """
    options, model = of_one_model(finished_options(run), run), run / "models" / f"{method}-{seed}.safetensors"
    if not model.exists():
        raise UserError(f"{run} has no model of {method} with seed {seed}: play it with --methods {method}")
    check_model(model, method=method, seed=seed)
    RunFolder(run).check_world()
    installed = load_device(model)
    part = installed.part
    if part.controller is None or part.interest is None:
        raise UserError(f"--method {method}: its devices do not choose blocks to be made for them")
    mapper = load_mapper(model, delivery_of(options))
    storage = Storage(run / "world")
    rows = read_sessions(run)
    device_sessions = rows[(rows["method"] == method) & (rows["seed"] == seed)][["device", "session"]].to_numpy()
    asked = [inference.request(part, *_recent(storage, s, options["memory"])) for s in _chunks(device_sessions)]
    paths, latents = np.concatenate([one.path for one in asked]), torch.cat([one.latent for one in asked])
    whose = partners(device_sessions[:, 0], numpy_generator(seed, "swaps"))
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

    Raises :class:`UserError` if that cannot be: one device has more than half of all sessions.
    """
    order = np.argsort(devices, kind="stable")
    counts = np.bincount(devices)
    if len(devices) < 2 * counts.max():
        raise UserError("one device has more than half of the sessions: there are not enough others to swap with")
    # Sorted by device, a shift by at least the longest run and at most its complement leaves every device.
    shift = int(generator.integers(counts.max(), len(devices) - counts.max() + 1))
    out = np.empty_like(order)
    out[order] = np.roll(order, shift)
    return out


def _recent(storage: Storage, device_sessions: np.ndarray, memory: int) -> tuple[Tensor, Tensor]:
    return recent([np.asarray(storage.before(d, s)) for d, s in device_sessions.tolist()], memory)


def _sessions(storage: Storage, device_sessions: np.ndarray, context: int, candidates: Candidates) -> SessionEvents:
    before = [np.asarray(storage.before(d, s)) for d, s in device_sessions.tolist()]
    during = [np.asarray(storage.during(d, s)) for d, s in device_sessions.tolist()]
    return session_events(before, during, context, candidates)


def _chunks(device_sessions: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(device_sessions), CHUNK):
        yield device_sessions[start : start + CHUNK]
