"""The paper's case study (Figure 6) on a finished run that played Forward-OFA.

    python -m replay.case_study RUN [--method forward-ofa] [--devices 3,17,42,99] [--data-dir DIR]

Writes ``RUN/casestudy.json``: for four devices at the start of their first live session, what the top ten become under
the device's own network, and under networks that do not fit it. This is the simulator's own view, for which it opens
what devices have on their disks; no device sends any of it.

The file::

    {"dataset", "method", "backbone", "blocks", "seed", "candidates", "simulated",
     "devices": [{"device": 3, "path": [1, 0, ...], "partner": 17, "recent": [ITEM, ...], "next": ITEM,
                  "networks": [{"network": "own", "path": [1, 0, ...], "rank": 4, "top": [ITEM, ...]}, ...]}, ...],
     "everyone": [{"network": "own", "devices": 300, "hit@10": 0.2, "ndcg@10": 0.1, "blocks": 4.5}, ...]}

An ITEM is ``{"item": 12, "title": "Heat (1995)", "genres": ["Action", ...]}``; ``recent`` are the last ten before the
session, oldest first; ``next`` is what the user did next, and ``rank`` its place among the candidates, 0 where it is
none (the device has seen it before). A network is

* ``own``: the device's own path and latent interest;
* ``all-blocks``: all blocks on, from its own latent interest;
* ``devicerec``: the one dense network trained in the cloud for everybody, if the run holds it;
* ``other``: path and latent interest of ``partner``, of the others in the study the one whose latent interest points
  away most (among ``everyone``: of all devices).

Devices are chosen by their paths alone, which know nothing of how well anything fits: one with the commonest path, then
each time one whose path differs most from those chosen. Budgets play no part here.

Where the cloud trained again (``--retrain``), each device has the version of the models that it ran in its first live
session, and networks of devices with that version only, since the paths and interests of one mean nothing to another:
the four are chosen among the devices with the commonest version, and among ``everyone`` a device that is alone with its
version has no ``other``.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import atomic
from core.cli import run as run_command
from core.errors import UserError

METHODS, DENSE = ("forward-ofa", "forward-ofa-plus"), "devicerec"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="python -m replay.case_study", description="The paper's Figure 6 on a finished run."
    )
    found.add_argument("run", type=Path, help="folder of a finished run that played the method")
    found.add_argument("--method", default=METHODS[0], choices=METHODS, help="whose networks (default: %(default)s)")
    found.add_argument("--devices", help="numbers of the devices, separated by commas (default: four different paths)")
    found.add_argument("--data-dir", type=Path, help="where raw data files are looked for first")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import torch
from torch import Tensor

from clients import inference
from clients.local_data import SessionEvents, Storage, recent, session_events
from core.run_folder import RunFolder, as_extracted, finished_options, read_sessions
from models.backbones.base import BlockWeights
from models.checkpoint import Installed, check_model, load_device, load_mapper
from models.device_part import DevicePart
from models.hypernetwork import AnyMapper, block_weights
from models.metrics import best_items, hits, ndcg, ranks
from replay.networks import delivery_of
from sim import data
from sim.data.interactions import Interactions
from sim.model_cache import model_path

FILE = "casestudy.json"
STUDIED, RECENT = 4, 10
CHUNK = 256


@dataclass(frozen=True)
class Scene:
    """The ``D`` devices of a run that begin with one version of the models, just before their first live event."""

    devices: np.ndarray
    """``(D,)`` their numbers."""
    past: list[np.ndarray]
    events: SessionEvents
    """What each user did next: one event a device."""
    following: Tensor
    """``(D,)`` the item of that event, whether it is a candidate or not."""
    paths: Tensor
    """``(D, L)`` bool."""
    latents: Tensor
    """``(D, 64)``."""
    full: Tensor
    """``(D, 64)`` the latent interest with which it would ask for all blocks."""


Answer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Of devices ``(N,)`` with the networks of others ``(N,)``: rank of the next item ``(N,)``, top items ``(N, 10)``."""


def study(
    run: Path, devices: Sequence[int] | None = None, data_dir: Path | None = None, method: str = METHODS[0]
) -> Path:
    """Write the case study of a finished run; returns the file's path."""
    options, folder = as_extracted(finished_options(run), run), RunFolder(run)
    seed = int(options["seed"])
    if not model_path(folder, method, seed).exists():
        raise UserError(f"{run} has no model of {method} with seed {seed}; play it with --methods {method}")
    interactions = data.load(options["dataset"], data_dir, columns=options.get("columns"), users=options["devices"])
    folder.check_world()
    storage = Storage(folder.world)
    begins = first_versions(run, method, seed, len(storage.offsets) - 1)
    version = version_of(begins, devices, run)
    portraits: list[dict[str, object]] = []
    ranked: list[dict[str, tuple[Tensor, Tensor]]] = []
    for one in np.unique(begins).tolist():
        model, dense = (model_path(folder, name, seed, one) for name in (method, DENSE))
        check_model(model, method=method, seed=seed)
        installed = load_device(model)
        scene = look(storage, np.flatnonzero(begins == one), installed, options["memory"], options["context"])
        if dense.exists():
            check_model(dense, method=DENSE, seed=seed)
        answers = _answers(scene, installed.part, load_mapper(model, delivery_of(options)), dense)
        if one == version:
            chosen = pick(scene.paths.numpy()) if devices is None else np.searchsorted(scene.devices, devices).tolist()
            portraits = _portraits(chosen, scene, answers, interactions)
        ranked.append(_ranked(scene, answers))
    found = {
        "dataset": interactions.name,
        "method": method,
        "backbone": options["backbone"],
        "blocks": installed.part.backbone.blocks,
        "seed": seed,
        "candidates": installed.part.backbone.num_items,
        "simulated": len(begins),
        "devices": portraits,
        "everyone": _everyone(ranked),
    }
    atomic.write(run / FILE, json.dumps(found, ensure_ascii=False, indent=1))
    return run / FILE


def first_versions(run: Path, method: str, seed: int, devices: int) -> np.ndarray:
    """The version of the method's model that each device ran in its first live session, ``(devices,)``."""
    rows = read_sessions(run)
    out = np.zeros(devices, dtype=int)
    if "version" in rows:
        first = rows[(rows["method"] == method) & (rows["seed"] == seed) & (rows["session"] == 0)]
        out[first["device"]] = first["version"]
    return out


def version_of(begins: np.ndarray, devices: Sequence[int] | None, run: Path) -> int:
    """The version whose devices are shown: that of the ``devices`` that the user names, or the commonest.

    Raises :class:`UserError` if there is no such device, if they begin with several versions, or if no two devices of
    the run begin with the same.
    """
    for one in devices or ():
        if not 0 <= one < len(begins):
            raise UserError(f"--devices: there is no device {one}; {run} has {len(begins)}, numbered from 0")
    found = np.bincount(begins if devices is None else begins[list(devices)])
    if devices is not None and np.count_nonzero(found) > 1:
        same = ",".join(map(str, np.flatnonzero(begins == found.argmax()).tolist()[:STUDIED]))
        raise UserError(
            "--devices: these begin with different versions of the model, whose networks cannot be exchanged; name "
            f"devices that begin with the same, as --devices {same}"
        )
    if found.max() == 1 < len(begins):
        raise UserError(
            f"{run}: no two devices begin with the same version of the model, so none has another's network"
        )
    return int(found.argmax())


def look(storage: Storage, devices: np.ndarray, installed: Installed, memory: int, context: int) -> Scene:
    """Let each of the ``devices`` ``(D,)`` extract what it would send before its first live session."""
    past = [np.asarray(storage.before(d, 0)) for d in devices.tolist()]
    following = [np.asarray(storage.during(d, 0))[:1] for d in devices.tolist()]
    events = session_events(past, following, context, installed.candidates)
    part = installed.part
    history, lengths = recent(past, memory)
    wanted = inference.request(part, history, lengths)
    with torch.inference_mode():
        full = part.latent_on_path(history, lengths, torch.ones_like(wanted.path))
    items = torch.tensor([int(now[0]) for now in following])
    return Scene(devices, past, events, items, wanted.path, wanted.latent, full)


def pick(paths: np.ndarray, count: int = STUDIED) -> list[int]:
    """Devices with paths ``(D, L)`` as different as can be; of equal ones the first."""
    _, first, often = np.unique(paths, axis=0, return_index=True, return_counts=True)
    chosen = [int(first[often == often.max()].min())]
    while len(chosen) < min(count, len(paths)):
        apart = (paths[:, None] != paths[None, chosen]).sum(axis=2).min(axis=1)
        apart[chosen] = -1
        chosen.append(int(apart.argmax()))
    return chosen


def partners(latents: Tensor) -> Tensor:
    """For each of ``(D, 64)`` the one whose direction is least like its own, ``(D,)``."""
    unit = torch.nn.functional.normalize(latents, dim=1)
    return torch.cat([(some @ unit.T).argmin(dim=1) for some in unit.split(CHUNK)])


@torch.inference_mode()
def _answers(scene: Scene, part: DevicePart, mapper: AnyMapper, dense: Path) -> dict[str, Answer]:
    def generated(who: Tensor, whose: Tensor, paths: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        return _rank(scene, part, who, block_weights(mapper.block, latents[whose]), paths[whose])

    everything = torch.ones_like(scene.paths)
    answers: dict[str, Answer] = {
        "own": lambda who, whose: generated(who, who, scene.paths, scene.latents),
        "all-blocks": lambda who, whose: generated(who, who, everything, scene.full),
    }
    if dense.exists():
        installed = load_device(dense)
        network = installed.network
        assert network is not None
        answers[DENSE] = lambda who, whose: _rank(scene, installed.part, who, lambda k, r: network[k], everything[who])
    answers["other"] = lambda who, whose: generated(who, whose, scene.paths, scene.latents)
    return answers


@torch.inference_mode()
def _rank(scene: Scene, part: DevicePart, who: Tensor, weights: BlockWeights, keep: Tensor) -> tuple[Tensor, Tensor]:
    states = part.backbone.encode(scene.events.windows[who], weights, keep=keep)[:, 0, -1]
    scores = part.backbone.score(states)
    if scene.events.seen is not None:
        scene.events.seen[who, 0].exclude(scores)
    rank = torch.where(scene.events.targets[who, 0] > 0, ranks(scores, scene.following[who]), 0)
    return rank, best_items(scores)


def _portraits(
    chosen: list[int], scene: Scene, answers: dict[str, Answer], interactions: Interactions
) -> list[dict[str, object]]:
    """What the file says of each of the ``chosen`` rows of the scene."""
    who = torch.tensor(chosen)
    whose = who[partners(scene.latents[who])]
    ranked = {name: answer(who, whose) for name, answer in answers.items()}
    taken = {name: _paths(name, scene, who, whose) for name in answers}
    return [
        {
            "device": int(scene.devices[one]),
            "path": scene.paths[one].int().tolist(),
            "partner": int(scene.devices[whose[row]]),
            "recent": [_item(item, interactions) for item in scene.past[one][-RECENT:].tolist()],
            "next": _item(int(scene.following[one]), interactions),
            "networks": [
                {
                    "network": name,
                    "path": taken[name][row].int().tolist(),
                    "rank": int(rank[row]),
                    "top": [_item(item, interactions) for item in top[row].tolist()],
                }
                for name, (rank, top) in ranked.items()
            ],
        }
        for row, one in enumerate(chosen)
    ]


def _ranked(scene: Scene, answers: dict[str, Answer]) -> dict[str, tuple[Tensor, Tensor]]:
    """By network, the rank of each device's next item and how many blocks it ran, ``(D,)``; of ``other`` nothing if
    there is no other device."""
    everybody, opposite = torch.arange(len(scene.following)), partners(scene.latents)
    out = {}
    for name, answer in answers.items():
        if name == "other" and len(everybody) == 1:
            continue
        pairs = zip(everybody.split(CHUNK), opposite.split(CHUNK), strict=True)
        rank = torch.cat([answer(who, whose)[0] for who, whose in pairs])
        out[name] = rank, _paths(name, scene, everybody, opposite).sum(1)
    return out


def _everyone(ranked: list[dict[str, tuple[Tensor, Tensor]]]) -> list[dict[str, object]]:
    """Means over all devices, where each version has its own."""
    out: list[dict[str, object]] = []
    for name in dict.fromkeys(name for one in ranked for name in one):
        rank, blocks = (torch.cat(parts) for parts in zip(*(one[name] for one in ranked if name in one), strict=True))
        rank = rank[rank > 0]
        out.append(
            {
                "network": name,
                "devices": len(rank),
                "hit@10": float(hits(rank).mean()),
                "ndcg@10": float(ndcg(rank).mean()),
                "blocks": float(blocks.double().mean()),
            }
        )
    return out


def _paths(name: str, scene: Scene, who: Tensor, whose: Tensor) -> Tensor:
    own = {"own": scene.paths[who], "other": scene.paths[whose]}
    return own.get(name, torch.ones_like(scene.paths[who]))


def _item(item: int, interactions: Interactions) -> dict[str, object]:
    names = [interactions.genre_names[g] for g in np.flatnonzero(interactions.genres[item])]
    return {"item": item, "title": interactions.item_titles[item], "genres": names}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 for what the user can mend."""
    given = parser().parse_args(arguments)
    return run_command(lambda: print(study(given.run, _numbers(given.devices), given.data_dir, given.method)))


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < 2 or len(set(parts)) < len(parts):
        raise UserError(f"--devices {text}: name two or more different devices by their numbers, separated by commas")
    return [int(part) for part in parts]


if __name__ == "__main__":
    sys.exit(main())
