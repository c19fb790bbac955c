"""What the modules of Forward-OFA weigh and how long adapting takes on this machine: the paper's Tables 5 and 8.

    python -m replay.measure --out FILE.json [--backbone sasrec] [--blocks L] [--dataset ml1m] [--accelerator auto]

Three ways to give one device a network that fits it, each timed (median of several repetitions after a first that does
not count) and its multiply-accumulates counted. Weights are fresh: what they are changes nothing in how long it takes.
The device is the user of the data set whose number of interactions is nearest to the mean.

* ``extract`` and ``generate``: Forward-OFA's extractors on the device (CPU), and its mapper in the cloud (accelerator)
  for all blocks, the most a device can ask for;
* ``on-device``: the training of method Finetune, three Adam steps on the device's last 100 targets (CPU);
* ``on-cloud``: one epoch of Adam over all parameters and all of the device's interactions, one (prefix, next item) at a
  time, as the released code of DUET fine-tunes (accelerator).

The file: ``{"backbone", "blocks", "context", "memory", "dataset", "items", "interactions", "cloud", "threads",
"counts": {"backbone": {...}, "device": {...}, "cloud": {...}}, "gflops": {"device", "cloud"}, "seconds": {way: s},
"macs": {way: n}}``, where ``gflops`` is what a product of two 1024 x 1024 matrices reaches, two operations
a multiply-accumulate.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core import atomic
from core.cli import run as run_command
from core.errors import UserError, unknown
from sim.config import DEFAULT_BLOCKS


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(prog="python -m replay.measure", description=(__doc__ or "").split("\n\n")[0])
    found.add_argument("--out", type=Path, required=True, help="file to write")
    found.add_argument("--backbone", default="sasrec", help="sasrec or nextitnet")
    found.add_argument("--blocks", type=int, help="blocks of the backbone (default: 6 for sasrec, 12 for nextitnet)")
    found.add_argument("--counts-only", action="store_true", help="time nothing: what Table 5 needs")
    found.add_argument("--context", type=int, default=5, help="items that the backbone reads (default: 5)")
    found.add_argument("--memory", type=int, default=5, help="items that the extractors read (default: 5)")
    found.add_argument("--dataset", default="synthetic", help="whose items and mean history (default: synthetic)")
    found.add_argument("--accelerator", default="auto", help="where the cloud works: auto, cpu or cuda")
    found.add_argument("--data-dir", type=Path, help="where raw data files are looked for first")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import numpy as np
import torch

from clients import inference, local_training
from clients.local_data import recent
from core.seeds import torch_generator
from models.backbones.base import DIM
from models.checkpoint import BACKBONES, Sizes
from models.cloud_models import AdaptiveModel, StaticModel
from models.kernels.softmax_loss import full_softmax_loss
from sim import data
from sim.data.interactions import Interactions
from sim.model_cache import pick_accelerator
from strategies.forward_ofa import ForwardOFA

REPEATS = 7
SIDE = 1024
BATCH = 1024
LEARNING_RATE = 1e-3


def adaptive_model(sizes: Sizes) -> AdaptiveModel:
    """Forward-OFA's model with fresh weights."""
    generator = torch_generator(0, "measure")
    model = ForwardOFA.learner().build(sizes.build(generator), generator).eval()
    assert isinstance(model, AdaptiveModel)
    return model


def time_all(
    adaptive: AdaptiveModel, sizes: Sizes, memory: int, past: np.ndarray, cloud: torch.device, repeats: int = REPEATS
) -> dict[str, dict[str, float]]:
    """Speeds, times and multiply-accumulates for a device that has interacted with ``past`` ``(n,)``, oldest first."""
    generator = torch_generator(0, "measure", "static")
    static = StaticModel(sizes.build(generator), generator)
    part, mapper = adaptive.device_part, adaptive.mapper.to(cloud)
    history, lengths = recent([past], memory)
    latent = inference.request(part, history, lengths).latent.to(cloud)
    network = [static.network[k].detach() for k in range(sizes.blocks)]
    tuning = local_training.tune(static.device_part, network, [past]).macs

    @torch.inference_mode()
    def generate() -> None:
        for k in range(sizes.blocks):
            mapper.block(k, latent)

    hosted = copy.deepcopy(static).to(cloud)
    pace = gflops(torch.device("cpu"))
    macs_of_one = part.backbone.inference_macs(sizes.context, sizes.blocks)
    return {
        "gflops": {"device": pace, "cloud": pace if cloud.type == "cpu" else gflops(cloud)},
        "seconds": {
            "extract": timed(lambda: inference.request(part, history, lengths), repeats),
            "generate": timed(generate, repeats, cloud),
            "on-device": timed(lambda: local_training.tune(static.device_part, network, [past]), repeats),
            "on-cloud": timed(lambda: one_epoch(hosted, sizes.context, past), repeats, cloud),
        },
        "macs": {
            "extract": part.request_macs(int(lengths[0])),
            "generate": mapper.macs(sizes.blocks),
            "on-device": int(tuning[0]),
            "on-cloud": local_training.BACKWARD * (len(past) - 1) * macs_of_one,
        },
    }


def counts(model: AdaptiveModel, sizes: Sizes) -> dict[str, dict[str, int]]:
    """Table 5, whole numbers: of the backbone, of what Forward-OFA adds on the device, and in the cloud."""
    part, mapper, backbone = model.device_part, model.mapper, model.device_part.backbone
    weights = sizes.blocks * (backbone.block_size + backbone.static_block_weights())
    modules = [module for module in (part.controller, part.interest) if module is not None]
    return {
        "backbone": {
            "macs": backbone.paper_macs(sizes.context, sizes.blocks),
            "weights": weights,
            "bits": 32 * weights,
        },
        "device": {
            "macs": part.paper_request_macs(sizes.context),
            "weights": sum(p.numel() for module in modules for p in module.parameters()),
        },
        "cloud": {
            "macs_of_one": DIM * backbone.inputs * DIM,
            "macs": mapper.macs(sizes.blocks),
            "weights": sum(p.numel() for p in mapper.parameters()),
        },
    }


def one_epoch(base: StaticModel, context: int, past: np.ndarray) -> None:
    """Fine-tune a copy of the whole model on one device's interactions."""
    where = base.device_part.backbone.items.device
    model = copy.deepcopy(base)
    backbone = model.device_part.backbone
    padded = np.concatenate([np.zeros(context, dtype=np.int64), past.astype(np.int64)])
    views = np.lib.stride_tricks.sliding_window_view(padded, context)[1:-1].copy()
    windows, targets = torch.from_numpy(views).to(where), torch.from_numpy(padded[context + 1 :]).to(where)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for some, wanted in zip(windows.split(BATCH), targets.split(BATCH), strict=True):
        states = backbone.encode(some.unsqueeze(1), model.block)[:, 0, -1]
        loss = full_softmax_loss(states, backbone.items, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def typical(interactions: Interactions) -> np.ndarray:
    """The items of the user whose number of interactions is nearest to the mean, oldest first."""
    user = int(np.abs(np.diff(interactions.offsets) - interactions.mean_length).argmin())
    return interactions.items[interactions.offsets[user] : interactions.offsets[user + 1]]


def gflops(where: torch.device) -> float:
    """What a matrix product reaches here at its fastest, in 10^9 operations a second."""
    a = torch.ones(SIDE, SIDE, device=where)
    return 2 * SIDE**3 / min(repetitions(lambda: a @ a, REPEATS, where)) / 1e9


def timed(work: Callable[[], object], repeats: int, where: torch.device | None = None) -> float:
    """Median seconds of :func:`repetitions`."""
    return statistics.median(repetitions(work, repeats, where))


def repetitions(work: Callable[[], object], repeats: int, where: torch.device | None = None) -> list[float]:
    """Seconds of each repetition, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if where is not None and where.type == "cuda":
            torch.cuda.synchronize(where)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, 2 for what the user can mend."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    if given.backbone not in BACKBONES:
        raise UserError(unknown("backbone", given.backbone, BACKBONES))
    blocks = given.blocks or DEFAULT_BLOCKS[given.backbone]
    found: dict[str, object] = {"backbone": given.backbone, "blocks": blocks, "context": given.context}
    if given.counts_only:
        sizes = Sizes(given.backbone, 1, blocks, given.context)
        found["counts"] = counts(adaptive_model(sizes), sizes)
    else:
        cloud = pick_accelerator(given.accelerator)
        interactions = data.load(given.dataset, given.data_dir)
        sizes = Sizes(given.backbone, interactions.num_items, blocks, given.context)
        past, model = typical(interactions), adaptive_model(sizes)
        found |= {
            "memory": given.memory,
            "dataset": interactions.name,
            "items": interactions.num_items,
            "interactions": len(past),
            "cloud": torch.cuda.get_device_name(cloud) if cloud.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "counts": counts(model, sizes),
            **time_all(model, sizes, given.memory, past, cloud),
        }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(given.out, json.dumps(found, indent=1))


if __name__ == "__main__":
    sys.exit(main())
