"""Both sides of the seam between cloud and devices, made by hand: models, disks, messages and replies."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from torch import nn

from clients import depot
from clients.fields import MEASURED_FIELDS
from clients.local_data import open_storage
from clients.messages import MEASURED, MODEL, ModelConfig
from clients.session_config import SessionConfig
from core.sealed import write_arrays
from models.backbones.base import DIM
from models.checkpoint import Sizes, device_file, save_model
from models.cloud_models import AdaptiveModel, StaticModel

BLOCK = 20_800
"""Weights of one block of SASRec: five linear layers of 64 x 64 weights and 64 biases."""


def answer(message: Message, records: Mapping[str, ArrayRecord | MetricRecord | ConfigRecord]) -> Message:
    """A device's reply to ``message``."""
    return Message(RecordDict(dict(records)), reply_to=message)


def measured(**values: float) -> dict[str, MetricRecord]:
    """The report of a session: of one event, not served and without a hit where ``values`` names nothing.

    The measures at other cut-offs are such as these can stand beside: no hit is beyond rank 5, all else is at rank 20.
    """
    events, hits, ndcg = (values.get(name, default) for name, default in (("events", 1), ("hits", 0), ("ndcg", 0.0)))
    possible = (n for n in range(int(hits) + 1) if ndcg - n <= (hits - n) / math.log2(3) + 1e-9)
    first = next(possible, 0)
    beyond = events - hits
    values = {
        "hits_1": first,
        "hits_5": hits,
        "hits_20": events,
        "ndcg_5": ndcg,
        "ndcg_20": ndcg + beyond / math.log2(21),
        "mrr": first + (hits - first) / 3 + beyond / 20,
        **values,
    }
    numbers = {field.name: field.kind(values.get(field.name, field.name == "events")) for field in MEASURED_FIELDS}
    return {MEASURED: MetricRecord(numbers)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Told:
    """A session to play: of which model, and in whose world."""

    world: Path
    model: Path
    session: int
    context: int
    history_length: int
    seed: int = 0


def order(told: Told, action: str, device: int = 0, **records: ConfigRecord | ArrayRecord) -> Message:
    """What a device is sent, whose machine has the model installed: the session, and what ``records`` replaces or
    adds."""
    digest, path = device_file(told.model)
    depot.install(depot.depot(context(device)), depot.pack_install({digest: path.read_bytes()}))
    storage = open_storage(str(told.world))
    stream = storage.before(device, told.session), storage.during(device, told.session)
    config = SessionConfig(device, told.session, told.seed, stream)
    model = ModelConfig(digest, told.context, told.history_length).record()
    content = RecordDict({MODEL: model, **config.records(), **records})
    return Message(content, dst_node_id=1, message_type=action)


def context(device: int, devices: int = 100) -> Context:
    """The Flower context of one simulated device, which has a folder of its own."""
    node = {"partition-id": device, "num-partitions": devices, depot.DEVICE_DIR: os.environ[depot.FOLDER_VARIABLE]}
    return Context(run_id=1, node_id=device + 1, node_config=node, state=RecordDict(), run_config={})


def state_name(folder: Path) -> str:
    """A name for what the devices of one test keep."""
    return re.sub("[^a-z0-9]+", "-", str(folder).lower())[-150:]


def save(path: Path, model: nn.Module, *, items: int, blocks: int, context: int, history: int) -> Path:
    """Write a cloud model as training does."""
    save_model(path, model.eval(), Sizes("sasrec", items, blocks, context), {"memory": history})
    return path


def static_model(items: int, blocks: int, context: int, *, seed: int = 0, controller: bool = False) -> StaticModel:
    """One network for everybody, with weights that are large enough to tell devices apart."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    backbone = Sizes("sasrec", items, blocks, context).build(generator)
    return _ready(StaticModel(backbone, generator, controller=controller), items)  # type: ignore[return-value]


def adaptive_model(items: int, blocks: int, context: int, *, seed: int = 0, controller: bool = True) -> AdaptiveModel:
    """A network for each device, likewise."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    backbone = Sizes("sasrec", items, blocks, context).build(generator)
    return _ready(AdaptiveModel(backbone, generator, controller=controller), items)  # type: ignore[return-value]


def _ready(model: StaticModel | AdaptiveModel, items: int) -> nn.Module:
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4)
        if model.device_part.controller is not None:
            bias = model.device_part.controller.head.bias
            bias.copy_(torch.linspace(0.4, -0.4, len(bias)))
    model.device_part.popularity.copy_(torch.arange(items + 1))
    return model


def mapper_by_hand(items: int, blocks: int, context: int) -> AdaptiveModel:
    """A mapper whose weights are told without a computer.

    Of block ``k`` every weight is ``k + 1``; to the first is added the first number of the latent interest, to the
    sixth twice the second number. (A head divides the interest by 8, the root of its width.)
    """
    model = adaptive_model(items, blocks, context)
    with torch.no_grad():
        for k in range(blocks):
            model.mapper.base[k].fill_(k + 1)
            model.mapper.heads[k].zero_()
            model.mapper.heads[k][0, 0] = 8
            model.mapper.heads[k][1, 5] = 16
    return model


def latent(first: float, second: float) -> np.ndarray:
    """A latent interest with these two numbers, ``(64,)``."""
    out = np.zeros(DIM, dtype=np.float32)
    out[:2] = first, second
    return out


def block(k: int, first: float, second: float) -> np.ndarray:
    """What :func:`mapper_by_hand` makes of that interest, ``(20800,)``."""
    out = np.full(BLOCK, k + 1, dtype=np.float32)
    out[0] += first
    out[5] += 2 * second
    return out


def write_world(folder: Path, sequences: list[list[int]], starts: list[list[int]]) -> Path:
    """The devices' disks: the items of each, and where its sessions begin; the last session ends with the items."""
    arrays = {
        "offsets": np.cumsum([0, *map(len, sequences)]),
        "items": np.concatenate([np.array(items, dtype=np.int32) for items in sequences]),
        "session_offsets": np.cumsum([0, *map(len, starts)]),
        "session_starts": np.concatenate([np.array(begin, dtype=np.int64) for begin in starts]),
    }
    write_arrays(folder, arrays, {})
    return folder
