"""The network that a device ran in a session of a finished run, made again from the run's folder alone.

The path is the one that the run recorded. The weights are made again as they were made then: by the mapper from the
device's latent interest, by the device's own training, or as they were installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from clients import local_training
from clients.local_data import SessionEvents, Storage, recent, session_events
from core.errors import UserError
from core.run_folder import RunFolder, as_extracted, read_config, read_sessions
from models.checkpoint import Installed, check_model, load_device, load_mapper
from models.delivery import Delivery
from models.hypernetwork import generate
from models.standalone import Standalone
from strategies.registry import METHODS

TRAINS = ("evaluate.finetune", "evaluate.litepred")
"""What devices do that train their own blocks, see :mod:`clients.app`."""


@dataclass(frozen=True)
class OwnNetwork:
    """A device's network, and what it was used for."""

    method: str
    device: int
    session: int
    tier: str
    assembled: Standalone
    events: SessionEvents
    """Of the session, with a device axis of one."""
    hits: int
    """Of the session, as the run recorded them."""
    macs: int
    """Of one inference, as the run recorded them."""

    @property
    def windows(self) -> Tensor:
        """``(N, context)``: before each prediction of the session."""
        return self.events.windows[self.events.targets > 0]

    @property
    def single(self) -> str:
        """Why the method runs in single precision alone; empty: it does not."""
        return METHODS[self.method].single if self.method in METHODS else ""

    @property
    def weights(self) -> int:
        """Numbers of the blocks that are the device's own."""
        return sum(getattr(self.assembled, f"block{k}").numel() for k in self.assembled.path)

    def facts(self) -> dict[str, object]:
        """What it is, for a file beside the network."""
        return {
            "method": self.method,
            "device": self.device,
            "session": self.session,
            "tier": self.tier,
            "blocks": [k + 1 for k in self.assembled.path],
            "weights": self.weights,
            "macs": self.macs,
            "items": self.assembled.backbone.num_items,
            "events": len(self.windows),
            "hits_in_the_run": self.hits,
        }


def own_network(run: Path, device: int, session: int | None, method: str | None, seed: int | None) -> OwnNetwork:
    """Make it again; raises :class:`UserError` where there is no such network."""
    config = read_config(run, "models", "actions")
    options, models, actions = config["run"], config["models"], config["actions"]
    method = method or ("forward-ofa" if "forward-ofa" in models else list(models)[-1])
    seed = int(options["seed"]) if seed is None else seed
    if method not in models:
        raise UserError(f"{run} has no method '{method}'; it has {', '.join(models)}")
    remembers = options["policy"] != "always" or bool(options.get("compare_stale"))
    row, adapted = _played(run, device, session, method, seed, remembers)
    version = int(row.get("version", 0))
    file = run / "models" / f"{models[method]}-{seed}{f'-v{version}' if version else ''}.safetensors"
    if not file.is_file():
        raise UserError(f"{file} is missing; python -m sim.train with the options of the run writes it again")
    check_model(file, method=models[method], seed=seed)
    RunFolder(run).check_world()
    storage, installed = Storage(run / "world"), load_device(file)
    if installed.network is None:
        as_extracted(options, run)
    path = [k for k in range(installed.part.backbone.blocks) if int(row["path"]) >> k & 1]
    memory = int(options["memory"])
    past = None if adapted is None else storage.before(device, adapted)
    weights = _weights(file, installed, actions[method], path, past, memory, delivery_of(options))
    gating = None
    if installed.network is not None and installed.network.kind == "gated":
        gating = (installed.network, installed.part)
    here = int(row["session"])
    events = session_events(
        [storage.before(device, here)], [storage.during(device, here)], int(options["context"]), installed.candidates
    )
    return OwnNetwork(
        method,
        device,
        here,
        str(row["tier"]),
        Standalone(installed.part.backbone, path, weights, gating),
        events,
        int(row["hits"]),
        int(row["macs"]),
    )


def spread_events(run: Path, own: OwnNetwork, sessions: int) -> SessionEvents:
    """Up to so many sessions of all devices of the run, evenly spread over them, cut as those of ``own``."""
    storage, options = Storage(run / "world"), read_config(run)["run"]
    ends = storage.session_offsets
    rows = np.unique(np.linspace(0, ends[-1] - 1, min(sessions, int(ends[-1]))).astype(np.int64))
    devices = np.searchsorted(ends, rows, side="right") - 1
    chosen = list(zip(devices.tolist(), (rows - ends[devices]).tolist(), strict=True))
    return session_events(
        [storage.before(*one) for one in chosen],
        [storage.during(*one) for one in chosen],
        int(options["context"]),
        "all" if own.events.seen is None else "unseen",
    )


def delivery_of(options: Mapping[str, Any]) -> Delivery:
    """How the devices of a run with these options came to their networks."""
    return Delivery(options.get("delivery", "weights"), int(options.get("code_bits", 32)))


@torch.no_grad()
def _weights(
    file: Path,
    installed: Installed,
    action: str,
    path: list[int],
    past: np.ndarray | None,
    memory: int,
    delivery: Delivery,
) -> list[Tensor]:
    """Of each block in ``path``, ``(1, block_size)``, made from the items ``past`` that the device had interacted with
    when it adapted; None: it never did, and runs what was installed."""
    part = installed.part
    keep = torch.tensor([[k in path for k in range(part.backbone.blocks)]])
    if installed.fetches:
        assert past is not None
        history, lengths = recent([past], memory)
        made = generate(part, load_mapper(file, delivery), history, lengths, keep)
        return [made(k, None) for k in path]
    network = installed.network
    assert network is not None
    if action in TRAINS and past is not None and path:
        tuned = local_training.tune(part, network, [past], keep, installed.candidates).weights
        return [tuned[k] for k in path]
    return [network[k] for k in path]


def _played(
    run: Path, device: int, session: int | None, method: str, seed: int, remembers: bool
) -> tuple[pd.Series, int | None]:
    """The row of a session that was served, and the session in which the device got or made what it ran there (None: it
    did not); ``remembers``: devices keep their networks from session to session."""
    rows = read_sessions(run)
    seeds = sorted(rows["seed"].unique().tolist())
    if seed not in seeds:
        raise UserError(f"{run} has no seed {seed}; it has {', '.join(map(str, seeds))}")
    devices = int(rows["device"].max()) + 1
    if not 0 <= device < devices:
        raise UserError(f"{run} has no device {device}; its devices are 0 to {devices - 1}")
    mine = rows[(rows["seed"] == seed) & (rows["method"] == method) & (rows["device"] == device)].set_index(
        "session", drop=False
    )
    session = int(mine.index.max()) if session is None else session
    if session not in mine.index:
        raise UserError(f"device {device} has no session {session}; its sessions are 0 to {mine.index.max()}")
    row = mine.loc[session]
    assert isinstance(row, pd.Series)
    if not row["served"]:
        served = ", ".join(str(s) for s in mine.index[mine["served"]]) or "none"
        why = "its budget did not allow it" if row["status"] == "ok" else f"the device was {row['status']}"
        raise UserError(
            f"device {device} ran no network of {method} in session {session}: {why}; sessions with one: {served}"
        )
    if "version" in mine:  # what was made with another version does not fit
        mine = mine[mine["version"] == row["version"]]
    before = mine.index[mine["adapted"] & (mine.index <= session) & ((mine.index == session) | remembers)]
    return row, None if before.empty else int(before.max())
