"""A DUET model made by hand, in which freshness is all that matters: a network recommends the group of items that the
device was interested in when it was made, whatever the device does now."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from core.run_folder import RunFolder
from models.backbones.base import DIM
from models.checkpoint import save_model
from models.cloud_models import AdaptiveModel
from models.device_part import Extractor
from sim import trainings
from sim.config import Config
from sim.model_cache import Sizes, model_path

STRENGTH = 1000.0
"""How much the latent interest outweighs the items in the window."""


def model(groups: np.ndarray, counts: np.ndarray, sizes: Sizes, keep: float) -> AdaptiveModel:
    """``groups`` and ``counts`` ``(num_items + 1,)`` give each item's group, from 0, and popularity; row 0 is padding.

    The GRU's update gate is constant: the latent interest is a running mean of the items' groups in which an item
    weighs ``keep`` times what the next one does; with 0 it is the last item's group. The mapper turns it into the bias
    at the end of the one block, which then decides the scores; inside a group, popular items come first.
    """
    made = AdaptiveModel(sizes.build(torch.Generator()), torch.Generator(), controller=False)
    part, mapper = made.device_part, made.mapper
    for weights in made.parameters():
        weights.data.zero_()
    items = np.arange(1, len(groups))
    places = np.argsort(np.argsort(counts[1:], kind="stable"))  # no two items are alike
    part.backbone.items.data[items, groups[1:]] = torch.from_numpy(1 + 0.1 * places / len(items)).float()
    assert isinstance(part.interest, Extractor)
    gru = part.interest.gru
    gru.weight_ih_l0.data[2 * DIM :] = torch.eye(DIM)  # gates in the order reset, update, new
    gru.bias_ih_l0.data[DIM : 2 * DIM] = math.log(keep / (1 - keep)) if keep else -50.0
    mapper.heads[0].data[:, -DIM:] = STRENGTH * torch.eye(DIM)
    part.popularity.copy_(torch.arange(len(groups)))
    return made.eval()


def install(groups: np.ndarray, counts: np.ndarray, keep: float, patch: pytest.MonkeyPatch) -> None:
    """Runs deploy this model instead of a trained one."""

    def train_model(
        name: str, data: object, config: Config, run: RunFolder, seed: int, *rest: object, **more: object
    ) -> tuple[pd.DataFrame, bool]:
        path = model_path(run, name, seed)
        path.parent.mkdir(exist_ok=True)
        sizes = Sizes(config.backbone, len(groups) - 1, config.resolved_blocks, config.resolved_context)
        save_model(path, model(groups, counts, sizes, keep), sizes, {"memory": config.resolved_memory})
        row = {"method": name, "seed": seed, "epoch": 1, "loss": 0.0, "valid_ndcg@10": 0.0, "valid_hit@10": 0.0}
        return pd.DataFrame([{**row, "seconds": 0.0, "best": True}]), True

    patch.setattr(trainings, "train_model", train_model)
