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

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clients import inference
from clients.local_data import Storage, recent, session_events
from clients.measurements import path_bits
from core.errors import UserError
from core.run_folder import RunFolder, as_extracted, finished_options, of_one_model, read_sessions
from core.seeds import numpy_generator
from models.backbones.base import BlockWeights
from models.checkpoint import check_model, load_device, load_mapper
from models.hypernetwork import block_weights, generate
from replay.networks import delivery_of
from sim.model_cache import model_path

NETWORKS = ("own", "swapped", "all-blocks", "other")
CHUNK = 256


class PlayedSessions:
    """The device-sessions of one method and seed of a finished run, which can be played again with other networks."""

    def __init__(self, run: Path, method: str, seed: int, version: int | None = None) -> None:
        """Of a run with ``--retrain`` the sessions of one ``version`` of the model; None: the run has no others.

        Raises :class:`UserError` if the run is not finished or does not hold the method's model, or if that makes no
        network for each device.
        """
        options, folder = as_extracted(finished_options(run), run), RunFolder(run)
        if version is None:
            options = of_one_model(options, run)
        model = model_path(folder, method, seed, version or 0)
        if not model.exists():
            raise UserError(f"{run} has no model of {method} with seed {seed}: play it with --methods {method}")
        check_model(model, method=method, seed=seed)
        folder.check_world()
        self.installed = load_device(model)
        self.part = self.installed.part
        if self.part.interest is None:
            raise UserError(f"--method {method}: the cloud makes no network for each of its devices")
        self.mapper, self.storage = load_mapper(model, delivery_of(options)), Storage(folder.world)
        self.world = folder.world
        self.context, self.history_length = int(options["context"]), int(options["memory"])
        rows = read_sessions(run)
        mine = (rows["method"] == method) & (rows["seed"] == seed)
        if version is not None and "version" in rows:
            mine &= rows["version"] == version
        self.device_sessions: np.ndarray = rows[mine][["device", "session"]].to_numpy()
        """``(N, 2)``: device and session of each."""

    def __len__(self) -> int:
        return len(self.device_sessions)

    def keep(self, devices: np.ndarray) -> None:
        """Forget the sessions of all other devices than these."""
        self.device_sessions = self.device_sessions[np.isin(self.device_sessions[:, 0], devices)]

    def before(self, rows: np.ndarray) -> list[np.ndarray]:
        """What the devices had interacted with before these sessions ``(n,)``."""
        return [np.asarray(self.storage.before(d, s)) for d, s in self.device_sessions[rows].tolist()]

    def during(self, rows: np.ndarray) -> list[np.ndarray]:
        """What they did in them."""
        return [np.asarray(self.storage.during(d, s)) for d, s in self.device_sessions[rows].tolist()]

    def history(self, sequences: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """What extractors read of these items."""
        return recent(sequences, self.history_length)

    def requests(self, sequences: list[np.ndarray]) -> tuple[np.ndarray, Tensor]:
        """Paths ``(n, L)`` bool and latent interests ``(n, 64)`` of devices with these items."""
        asked = [
            inference.request(self.part, *self.history(sequences[start : start + CHUNK]))
            for start in range(0, len(sequences), CHUNK)
        ]
        return np.concatenate([one.path for one in asked]), torch.cat([one.latent for one in asked])

    def play(self, network: str, rows: np.ndarray, path: np.ndarray, weights: BlockWeights) -> pd.DataFrame:
        """Play the sessions in ``rows`` ``(n,)`` again, by devices with these ``weights`` on the path ``(n, L)``.

        One row each: ``device, session, network, events, hits, ndcg, path, blocks``.
        """
        events = session_events(self.before(rows), self.during(rows), self.context, self.installed.candidates)
        with torch.inference_mode():
            quality = inference.rerank(self.part, events, weights, torch.from_numpy(path))
        return pd.DataFrame(
            {
                "device": self.device_sessions[rows, 0],
                "session": self.device_sessions[rows, 1],
                "network": network,
                "events": quality.events.numpy(),
                "hits": quality.hits.numpy(),
                "ndcg": quality.ndcg.numpy(),
                "path": path_bits(path),
                "blocks": path.sum(1),
            }
        )

    def play_made(self, network: str, rows: np.ndarray, path: np.ndarray, latent: Tensor) -> pd.DataFrame:
        """The same with what the cloud makes of latent interests ``(n, 64)``."""
        return self.play(network, rows, path, block_weights(self.mapper.block, latent))

    def play_on(self, network: str, rows: np.ndarray, path: np.ndarray) -> pd.DataFrame:
        """The same with what the cloud makes for the devices themselves on other paths than they asked for."""
        made = generate(self.part, self.mapper, *self.history(self.before(rows)), torch.from_numpy(path))
        return self.play(network, rows, path, made)


def replay(run: Path, method: str, seed: int) -> pd.DataFrame:
    """One row for each device-session and network, see :meth:`PlayedSessions.play`; ``path`` has bit k set if block k
    ran.

    Of a run with ``--retrain``, sessions are left out whose version ran so often on one device that its sessions have
    not enough others to swap with. Raises :class:`UserError` if that leaves none, as :class:`PlayedSessions` does, and
    if the method's devices do not choose their blocks.
    """
    versions = _versions(run, method, seed)
    generator, frames = numpy_generator(seed, "swaps"), []
    for version in versions:
        played = PlayedSessions(run, method, seed, version)
        if played.part.controller is None:
            raise UserError(f"--method {method}: its devices do not choose blocks to be made for them")
        devices = played.device_sessions[:, 0]
        if len(versions) > 1 and not can_swap(devices):
            continue
        frames += _swapped(played, partners(devices, generator))
    if not frames:
        raise UserError(f"{run}: each version of {method} ran on too few devices for any to swap their networks")
    return pd.concat(frames, ignore_index=True)


def _versions(run: Path, method: str, seed: int) -> list[int]:
    """The versions of the method's model that the run's sessions ran; [0] without ``--retrain``."""
    finished_options(run)
    rows = read_sessions(run)
    if "version" not in rows:
        return [0]
    mine = (rows["method"] == method) & (rows["seed"] == seed)
    return sorted(int(version) for version in rows[mine]["version"].unique()) or [0]


def _swapped(played: PlayedSessions, whose: np.ndarray) -> list[pd.DataFrame]:
    """The sessions with each of :data:`NETWORKS`; ``whose`` ``(N,)`` are their :func:`partners`."""
    paths, latents = played.requests(played.before(np.arange(len(played))))
    frames = []
    for rows in chunks(np.arange(len(played))):
        own, other = paths[rows], paths[whose[rows]]
        frames += [
            played.play_made("own", rows, own, latents[rows]),
            played.play_on("swapped", rows, other),
            played.play_on("all-blocks", rows, np.ones_like(own)),
            played.play_made("other", rows, other, latents[whose[rows]]),
        ]
    return frames


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


def chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """As many of ``rows`` at a time as are played together."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
