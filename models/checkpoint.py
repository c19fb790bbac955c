"""Trained models on disk: safetensors files that say in their own header how to rebuild the model.

A device opens only what is installed on it, ``device_part.`` and ``network.``; the rest stays in the cloud. Header and
arrays carry digests, which both sides check for what they read, see :mod:`core.sealed`.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from core import atomic, sealed
from core.errors import Damaged, UserError
from models.arithmetic import ARITHMETICS, SINGLE, Arithmetic, computed_in, stored_bits
from models.backbones.base import Backbone
from models.backbones.nextitnet import NextItNet
from models.backbones.sasrec import SASRec
from models.candidates import Candidates
from models.coding import ChoiceCoding, Coding, weight_coding
from models.delivery import WEIGHTS, Delivery, code_bits
from models.device_part import DevicePart, Structure
from models.finite import not_finite
from models.hypernetwork import AnyMapper, LowRankBases, LowRankMapper, Mapper
from models.references import REFERENCES, Reference
from models.shared.gater import GatedNetwork
from models.shared.masked import MaskedNetwork, MaskMapper
from models.shared.mixed import MixedNetwork, PrecisionMapper
from models.shared.plain import Network
from models.shared.rare_gem import SparseNetwork
from models.shared.specialised import SpecialisedNetwork
from models.shared.sttd import FactoredNetwork

BACKBONES: dict[str, type[Backbone]] = {"sasrec": SASRec, "nextitnet": NextItNet}
"""Backbones by their name on the command line."""

NETWORKS: dict[str, type[Network]] = {
    network.kind: network
    for network in (Network, FactoredNetwork, SparseNetwork, GatedNetwork, MaskedNetwork, MixedNetwork)
}
"""What may be installed on devices, by the kind that a file names."""

MAPPERS: dict[str, type[AnyMapper]] = {
    mapper.kind: mapper for mapper in (Mapper, LowRankMapper, MaskMapper, PrecisionMapper)
}
"""What may be in the cloud, likewise."""

BASES = ("base.", "down.", "up.")
"""Of a low-rank mapper's parameters those that make blocks of codes."""

CLOUD_PREFIX, PART_PREFIX, NETWORK_PREFIX, REFERENCE_PREFIX = "mapper.", "device_part.", "network.", "reference."

INSTALLED = "installed"
"""Folder, beside models, of what devices get of them."""
FIX = "python -m sim.train with the options of the run writes it again"
"""What the user can do about a model that is not to be believed."""


@dataclass(frozen=True)
class Sizes:
    """What it takes to build a backbone."""

    backbone: str
    num_items: int
    blocks: int
    context: int

    def build(self, generator: torch.Generator) -> Backbone:
        """A freshly initialised backbone of these sizes."""
        return BACKBONES[self.backbone](self.num_items, self.blocks, self.context, generator)


@dataclass(frozen=True)
class Installed:
    """What a device has on it: the shared part, and the network that was installed with it, if any."""

    part: DevicePart
    network: Network | None
    reference: Reference | None
    """The ranking without a network, if that is the method."""
    candidates: Candidates
    """What it was trained to choose from, and a device chooses from."""
    arithmetic: Arithmetic = SINGLE
    """In which precision the device computes."""
    delivery: Delivery = WEIGHTS
    """How the device comes to a network that is made for it."""
    mapper: AnyMapper | LowRankBases | None = None
    """What the device makes blocks of: with ``local`` the mapper, with ``code`` its bases."""

    _others: dict[int, "Installed"] = field(default_factory=dict, compare=False, repr=False)

    @property
    def fetches(self) -> bool:
        """Whether what a device runs, or the choice that makes its network of the installed one, is sent to it."""
        return (self.network is None and self.reference is None) or isinstance(self.network, SpecialisedNetwork)

    @property
    def coding(self) -> Coding:
        """How a block comes down to the device."""
        if isinstance(self.network, SpecialisedNetwork):
            return ChoiceCoding(self.network)
        return weight_coding(self.part.backbone, self.arithmetic.bits)

    def at(self, bits: int) -> "Installed":
        """The same on a device that computes in ``bits``: stored in them, multiplied in them."""
        if bits == self.arithmetic.bits:
            return self
        if bits not in self._others:
            arithmetic = ARITHMETICS[bits]
            self._others[bits] = replace(
                self,
                part=computed_in(self.part, arithmetic),
                network=None if self.network is None else _network_at(self.network, self.part.backbone, arithmetic),
                arithmetic=arithmetic,
                _others={},
            )
        return self._others[bits]

    def update_bits(self, blocks: int) -> int:
        """Bits that come down for so many blocks: their weights, their codes, or nothing."""
        if self.delivery.how == "local":
            return 0
        if isinstance(self.mapper, LowRankBases):
            return blocks * code_bits(self.mapper.pieces, self.delivery.bits)
        return blocks * self.coding.bits

    def making_macs(self, blocks: int) -> int:
        """Multiply-accumulates by which the device makes so many blocks: of codes, of its latent interest, or none."""
        if isinstance(self.mapper, AnyMapper):
            return self.mapper.macs(blocks)
        return 0 if self.mapper is None else self.mapper.fold_macs(blocks)

    @property
    def making_bits(self) -> int:
        """Bits of what the device keeps to make blocks of, beside the network that it runs: a mapper, bases, or the
        installed network that choices specialise."""
        if isinstance(self.network, SpecialisedNetwork):
            return self.network.installed_bits(self.part.backbone, self.arithmetic.bits)
        return 0 if self.mapper is None else 32 * sum(one.numel() for one in self.mapper.parameters())

    @property
    def bits(self) -> int:
        """Bits of what is installed, in the device's precision: the shared part, the network as it is stored and,
        in 32 for each number, what the device makes blocks of; of a
        reference its table and the ranking by popularity, 32 for each number, since it uses no embeddings."""
        backbone, bits = self.part.backbone, self.arithmetic.bits
        if self.reference is not None:
            return 32 * (self.reference.weights + backbone.num_items)
        total = 32 * self.part.popularity.numel()
        for value in self.part.parameters():
            matrix = value.dim() == 2
            total += stored_bits(bits, value.numel(), 0 if matrix else value.numel(), len(value) if matrix else 0)
        total += self.making_bits
        if self.network is None or isinstance(self.network, SpecialisedNetwork):
            return total
        return total + self.network.installed_bits(backbone, bits)


def save_model(path: Path, model: nn.Module, sizes: Sizes, extra: dict[str, object]) -> None:
    """Write ``model`` with its sizes and ``extra`` (JSON) in the header; the file appears whole or not at all.

    What ``extra`` says of ``key``, ``method`` and ``seed`` is what :func:`check_model` compares. Raises
    :class:`UserError` if a weight is not finite.
    """
    if (wrong := not_finite(model.state_dict())) is not None:
        raise UserError(f"{path.name} is not written: {wrong} holds numbers that are not finite; train it again")
    header = {"sizes": json.dumps(asdict(sizes)), "extra": json.dumps(extra)}
    network = getattr(model, "network", None)
    if isinstance(network, Network):
        header["network"] = network.kind
    reference = getattr(model, "reference", None)
    if isinstance(reference, Reference):
        header["reference"] = reference.kind
    mapper, part = getattr(model, "mapper", None), getattr(model, "device_part", None)
    if isinstance(mapper, AnyMapper):
        header["mapper"] = mapper.kind
    if isinstance(part, DevicePart):
        header["structure"] = part.structure
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in model.state_dict().items()}
    atomic.write(path, sealed.pack_tensors(arrays, header))


def read_header(path: Path) -> tuple[Sizes, dict[str, object]]:
    """The sizes and the extra facts that :func:`save_model` wrote."""
    header, _ = _read(path, lambda name: False)
    return _sizes(header), json.loads(header["extra"])


def check_model(path: Path, **facts: object) -> None:
    """Raise :class:`core.errors.Damaged` unless the whole file is as it was written and its ``extra`` states the facts
    (``key``, ``method``, ``seed``)."""
    header, _ = _read(path, lambda name: True)
    sealed.expect(path, json.loads(header["extra"]), {name: str(value) for name, value in facts.items()}, FIX)


def load_weights(path: Path) -> dict[str, Tensor]:
    """All weights of the model, for a training that goes on from them."""
    return _read(path, lambda name: True)[1]


def load_device(path: Path, delivery: Delivery | None = None) -> Installed:
    """Open what is installed on a device. What stays in the cloud is not even read.

    ``path`` is a device's file or the model itself; None: the delivery is the one that the file names, or ``weights``.

    This and :func:`load_mapper` raise :class:`core.errors.Damaged` for a file that is not as it was written, or that
    holds a number that is not finite. ValueError for ``code`` of a mapper that has none.
    """
    if delivery is None:
        delivery = Delivery.named(_read(path, lambda name: False)[0].get("delivery", "weights"))
    header, tensors = _read(path, partial(_on_device, delivery))
    backbone = _sizes(header).build(torch.Generator())
    part = DevicePart(
        backbone,
        controller=any(name.startswith("device_part.controller.") for name in tensors),
        interest=any(name.startswith("device_part.interest.") for name in tensors),
        structure=cast(Structure, header.get("structure", "logits")),
        pairs="device_part.interest.pair.weight" in tensors,
    )
    part.load_state_dict(_below(PART_PREFIX, tensors))
    network = None
    if any(name.startswith(NETWORK_PREFIX) for name in tensors):
        network = NETWORKS[header.get("network", Network.kind)](backbone, torch.Generator())
        network.load_state_dict(_below(NETWORK_PREFIX, tensors))
        network.eval().requires_grad_(False)
    reference = None
    if "reference" in header:
        table = _below(REFERENCE_PREFIX, tensors)
        entries, rows = len(table.get("values", ())), len(table.get("offsets", (0,))) - 1
        reference = REFERENCES[header["reference"]].of_size(part.backbone.num_items, entries, rows)
        reference.load_state_dict(table)
    mapper: AnyMapper | LowRankBases | None = None
    if made_of := _below(CLOUD_PREFIX, tensors):
        kind = _mapper_kind(header)
        if delivery.how == "code" and kind is not LowRankMapper:
            raise ValueError(f"{path.name} has a mapper without codes")
        mapper = (LowRankBases if delivery.how == "code" else kind)(backbone, torch.Generator())
        mapper.load_state_dict(made_of)
        mapper.eval().requires_grad_(False)
    recipe = json.loads(header["extra"]).get("recipe", {})
    candidates = recipe.get("candidates", "all")
    part = part.eval().requires_grad_(False)
    return Installed(part, network, reference, candidates, delivery=delivery, mapper=mapper)


def device_file(path: Path, delivery: Delivery = WEIGHTS) -> tuple[str, Path]:
    """What a device gets of the model in ``path``: a file without what stays in the cloud, and its SHA-256.

    The file lies in ``installed`` beside the model. It is written once: two files with the same weights differ in the
    order of their headers, and so in their digests.
    """
    target = path.parent / INSTALLED / path.name
    header, tensors = _read(path, partial(_on_device, delivery))
    if delivery != WEIGHTS:
        target = target.with_stem(f"{path.stem}-{delivery.name}")
        header["delivery"] = delivery.name
    facts = json.loads(header["extra"])
    header["extra"] = json.dumps({name: value for name, value in facts.items() if name != "records"})
    try:
        found, there = _read(target, lambda name: True)
        same = found == header and there.keys() == tensors.keys()
        same = same and all(torch.equal(there[name], tensors[name]) for name in there)
    except Damaged:
        same = False
    if not same:
        arrays = {name: value.numpy() for name, value in tensors.items()}
        atomic.write(target, sealed.pack_tensors(arrays, header))
    return file_digest(target), target


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_mapper(path: Path, delivery: Delivery = WEIGHTS) -> AnyMapper:
    """Open the cloud's side of an adaptive model; its blocks are those that devices make of codes with these bits."""
    header, tensors = _read(path, lambda name: name.startswith(CLOUD_PREFIX))
    mapper = _mapper_kind(header)(_sizes(header).build(torch.Generator()), torch.Generator())
    mapper.load_state_dict(_below(CLOUD_PREFIX, tensors))
    if isinstance(mapper, LowRankMapper) and delivery.how == "code":
        mapper.bits = delivery.bits
    return mapper.eval().requires_grad_(False)


def _on_device(delivery: Delivery, name: str) -> bool:
    made_of = {"weights": (), "code": tuple(CLOUD_PREFIX + one for one in BASES), "local": (CLOUD_PREFIX,)}
    return name.startswith((PART_PREFIX, NETWORK_PREFIX, REFERENCE_PREFIX, *made_of[delivery.how]))


def _mapper_kind(header: dict[str, str]) -> type[AnyMapper]:
    return MAPPERS[header.get("mapper", Mapper.kind)]


def _sizes(header: dict[str, str]) -> Sizes:
    return Sizes(**json.loads(header["sizes"]))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _read(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The header and the wanted tensors, all of them finite."""
    header, arrays = sealed.read_tensors(path, FIX, wanted)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if (wrong := not_finite(tensors)) is not None:
        raise sealed.damaged(path, f"{wrong} holds a number that is not finite", FIX)
    return header, tensors


@torch.no_grad()
def _network_at(network: Network, backbone: Backbone, arithmetic: Arithmetic) -> Network:
    """A copy of a network of plain blocks, stored in a precision."""
    made = copy.deepcopy(network)
    for value in made.parameters():
        for matrix, bias in backbone.unpack(value.unsqueeze(0)):
            matrix.copy_(arithmetic.stored(matrix, 1))
            bias.copy_(arithmetic.beside(bias))
    return made
