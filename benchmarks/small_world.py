"""A few devices with a few sessions and untrained models: what altered messages are sent through."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Message, RecordDict
from torch import nn

from clients.app import app
from clients.folders import DEVICE_DIR
from clients.policies import parse
from models.backbones.sasrec import SASRec
from models.checkpoint import Sizes, save_model
from models.cloud_models import AdaptiveModel
from models.delivery import WEIGHTS, Delivery
from models.hypernetwork import LowRankMapper
from sim import play
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import register
from sim.backends.population import Population
from sim.data.interactions import Interactions
from sim.policy.setup import PolicySetup
from sim.world.fleet import Fleet
from sim.world.scenario import load_scenario
from sim.world.streams import build_streams, save
from strategies.base import SessionStrategy
from strategies.forward_ofa_plus import PlusLearner
from strategies.registry import METHODS

DEVICES, ITEMS, BLOCKS, CONTEXT, HISTORY, SESSIONS = 5, 30, 3, 5, 8, 3


class Bench:
    """A few devices with a few sessions, one strategy a method, and what each device answers in truth."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        count = 50  # of which the last ten are played
        interactions = Interactions(
            name="fuzz",
            offsets=np.arange(DEVICES + 1) * count,
            items=rng.integers(1, ITEMS + 1, DEVICES * count).astype(np.int32),
            times=np.tile(np.arange(count) * 60, DEVICES),
            user_ids=[str(user) for user in range(DEVICES)],
            item_ids=["", *map(str, range(ITEMS))],
            item_titles=["", *map(str, range(ITEMS))],
            genre_names=[],
            genres=np.zeros((ITEMS + 1, 0), dtype=bool),
            change_points=np.full(DEVICES, -1),
        )
        self.folder = folder
        self.streams = build_streams(interactions, np.arange(DEVICES), session_length=3, sessions=SESSIONS)
        save(self.streams, folder / "world")
        self.fleet = Fleet(self.streams, load_scenario("paper-device"), seed=0)
        self.grid = AlteringGrid(DEVICES, folder / "world")
        self.population = Population(self.grid, register(self.grid, DEVICES), DEVICES)
        self.rounds = play.sessions_by_round(self.streams, self.population.addresses, "all")
        self._models: dict[str, Path] = {}

    def strategy(self, method: str, delivery: Delivery = WEIGHTS) -> SessionStrategy:
        """A fresh strategy, with an untrained model."""
        kind = METHODS[method]
        if kind.cloud_model not in self._models:
            generator = torch.Generator().manual_seed(1)
            torch.manual_seed(1)
            learner, backbone = METHODS[kind.cloud_model].learner(), SASRec(ITEMS, BLOCKS, CONTEXT, generator)
            model: nn.Module
            if isinstance(learner, PlusLearner):  # without the teacher that it learns from
                chooses, mapper = learner.controller, LowRankMapper
                model = AdaptiveModel(backbone, generator, controller=chooses, structure="path", mapper=mapper)
            else:
                model = learner.build(backbone, generator)
            path = self.folder / f"{kind.cloud_model}.safetensors"
            save_model(path, model, Sizes("sasrec", ITEMS, BLOCKS, CONTEXT), {"memory": HISTORY})
            self._models[kind.cloud_model] = path
        return kind(self._models[kind.cloud_model], self.rounds, (), delivery)

    def policies(self, strategy: SessionStrategy, policy: str, session: int) -> PolicySetup | None:
        """The request policy of all devices, with a folder of its own; None where there is none to have."""
        if not strategy.adapts or not policy:
            return None
        kind, parameter = parse("every:2")
        state = f"{strategy.name}-{strategy.delivery.name}-{policy.partition(':')[0]}-{session}"
        return PolicySetup(kind, [parameter or 0.0] * DEVICES, state, self.streams, 0, policy == "compare")


class AlteringGrid(InProcessGrid):
    """Hands replies on as ``replies`` gives them; with ``known``, devices answer from it and compute nothing."""

    def __init__(self, devices: int, folder: Path) -> None:
        super().__init__(app, devices, node_config={DEVICE_DIR: str(folder)})
        self.known: dict[tuple[str, int], RecordDict] | None = None
        self.answered: dict[tuple[str, int], RecordDict] = {}
        self.told: dict[str, list[Message]] = {}
        self.replies: Callable[[list[Message]], list[Message]] = list

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        if self.known is None:
            for message in sent:
                if not message.metadata.message_type.startswith("query"):
                    self.told.setdefault(message.metadata.message_type, []).append(message)
            replies = super().send_and_receive(sent)
            for reply in replies:
                if not reply.metadata.message_type.startswith("query"):
                    self.answered[place(reply)] = copied(reply.content)
            return self.replies(replies)
        for number, message in enumerate(sent):
            message.metadata.__dict__["_message_id"] = f"{id(self)}-{number}-{message.metadata.message_type}"
        return self.replies([Message(copied(self.known[place_of(m)]), reply_to=m) for m in sent])


def place(reply: Message) -> tuple[str, int]:
    """What kind of message was answered, and by which node."""
    return reply.metadata.message_type, reply.metadata.src_node_id


def place_of(message: Message) -> tuple[str, int]:
    """What kind of message it is, and for which node."""
    return message.metadata.message_type, message.metadata.dst_node_id


def copied(content: RecordDict) -> RecordDict:
    """Records of their own, with the same values."""
    out = RecordDict()
    for name, record in content.items():
        mine: Any = record.copy()
        out[name] = mine
    return out
