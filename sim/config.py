"""The configuration of a run: one typed dataclass is the command line, its documentation and config.toml."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_origin, get_type_hints

import tomli_w
import tyro

from clients.policies import POLICIES, parse
from core.errors import UserError, unknown
from core.schema import ORACLES
from sim.world.fingerprint import content, data_content
from strategies.registry import METHODS

if TYPE_CHECKING:  # they need PyTorch and NumPy, and options do not
    from clients.upload import UploadForm
    from models.delivery import Delivery

REFERENCES, OWN_REFERENCES = ("popular", "recent-popular", "cooccurrence"), ("own-recent", "own-frequent")
"""Methods without a network; those that rank what a device has seen need all items as candidates."""
GENERATED = ("synthetic",)
"""Data sets whose users have known types, as oracles need."""
DEFAULT_BLOCKS = {"sasrec": 6, "nextitnet": 12}
DEFAULT_CONTEXT = {"stream": 10, "paper": 5}
DEFAULT_MEMORY = {"stream": 50, "paper": 5}

LARGEST = 1e30
"""Numbers beyond this are infinite for training, which computes in single precision."""

MOST_SAMPLED = 10**6
"""Sampled candidates of one event."""

NOT_IDENTITY = {"data_dir", "out", "quiet", "accelerator", "tensorboard", "supernodes", "superlink"}
"""Options that decide where and how, not what: the same run without them. So does the backend, but an identity holds
the name of the default one."""


@dataclass(frozen=True)
class Config:
    """Simulate devices that rerank on their own, and a cloud that sends each of them its network."""

    dataset: str = "synthetic"
    """synthetic, ml1m, ml10m, amazon-game, amazon-food, or the path of a table of interactions (.csv, .tsv, .txt, .dat,
    .inter; plain, .gz or .xz)"""
    columns: str | None = None
    """which columns of that file hold user, item and time: user=userId,item=movieId,time=timestamp, or indices from 0
    for a file without a header (default: recognised by their usual names)"""
    ties: Literal["file", "shuffled"] = "file"
    """order of the interactions of one user with equal times: as they come in the file, or shuffled by the seed"""
    devices: int = 200
    """users of the data set that are simulated as devices"""
    methods: str = "devicerec,finetune,duet,forward-ofa,forward-ofa-plus"
    """which methods to compare, separated by commas"""
    references: str | None = None
    """methods without a network that stand beside them, or none (default: popular, recent-popular, cooccurrence; where
    all items are candidates own-recent and own-frequent, too; of generated data the oracle cooccurrence-by-type)"""
    backbone: Literal["sasrec", "nextitnet"] = "sasrec"
    """whose blocks the networks have"""
    blocks: int | None = None
    """blocks of the backbone (default: 6 for sasrec, 12 for nextitnet)"""
    context: int | None = None
    """items that the backbone reads for one prediction (default: 10; 5 with --protocol paper)"""
    memory: int | None = None
    """items that the extractors read for one adaptation (default: 50; 5 with --protocol paper)"""
    protocol: Literal["stream", "paper"] = "stream"
    """stream: the last 20 % of each device's interactions are played live; paper: only the last one"""
    split: Literal["user", "time"] = "user"
    """what divides training and play: user (for each device its own last part is live) or time (one instant, before
    which 80 % of all interactions lie, for all users)"""
    retrain: float | None = None
    """with --split time: days of virtual time after which the cloud trains again, from everything up to then, and
    devices get the new model (default: it never does)"""
    candidates: Literal["unseen", "all"] | None = None
    """what a device chooses from: unseen (not what it has interacted with before) or all items (default: unseen; all
    with --protocol paper)"""
    evaluate: str = "full"
    """full: the item is ranked among all candidates; sampled:N: beside that among itself and N others, drawn at random
    by the seed and the same for all methods"""
    session_length: int = 10
    """most interactions in a session"""
    session_gap: float = 30.0
    """minutes without an interaction that end a session; inf: --session-length alone ends them"""
    sessions: int | None = None
    """play at most this many sessions a device (default: all)"""
    scenario: str = "paper-device"
    """device mix: the name of a shipped one, or a TOML file"""
    drift: str = "natural"
    """drift of interests: natural (the streams as they are), abrupt, abrupt-mild, gradual, recurring, or a TOML file"""
    policy: str = "always"
    """when a device asks for a network, NAME or NAME:PARAMETER: always (before every session), never (once), every:K
    (in every K-th session), random:P (with probability P), drift:D (cosine distance of the latent interest to the last
    one sent above D), adwin:DELTA or page-hinkley:LAMBDA (detectors of rising losses), mrd:P (a mis-recommendation
    detector's probability above P), oracle:K (knows the changes of interest; in K sessions after each)"""
    request_rate: float | None = None
    """a budget: the share of the sessions after its first in which a device may ask; instead of the policy's parameter,
    which a backtest on the histories then sets"""
    request_scope: Literal["population", "device"] = "population"
    """whose average has to meet --request-rate: population (one threshold for all) or device (each its own)"""
    delivery: Literal["weights", "code", "local"] = "weights"
    """how a device comes to a network that is made for it: weights (the cloud makes them and sends them), code (of a
    method with a low-rank mapper: the bases are installed once, and the cloud sends a code of some kilobits) or local
    (the mapper is installed; the device makes its network itself and asks nothing)"""
    code_bits: int = 32
    """of each number of such a code: 32, 16 or 8"""
    compare_stale: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """measure every session of the methods that adapt with the network of the last adaptation and with a fresh one; the
    simulator's own measurement, at no cost to the devices"""
    upload: Literal["latent", "path"] = "latent"
    """what a request tells of the device beside its path: latent (the latent interest) or path (nothing; the cloud
    makes the network from the mean interest of that path in the histories)"""
    latent_clip: float | None = None
    """devices scale a latent interest down to this norm before they send it"""
    latent_noise: float | None = None
    """devices add Gaussian noise to each of its numbers, of this standard deviation times --latent-clip"""
    latent_bits: Literal["32", "8", "4"] = "32"
    """bits of each number of a latent interest that is sent: 32, 8 or 4"""
    uploads: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """keep what each request told the cloud in uploads.parquet of the folder, for python -m analysis.privacy"""
    backend: Literal["inprocess", "ray", "deployment"] = "inprocess"
    """inprocess, ray (Flower's Simulation Engine) or deployment (SuperLink and SuperNodes)"""
    supernodes: int | None = None
    """Flower's nodes, among which the devices are divided (default: with inprocess one a device, with ray one for 32 of
    them or less, with deployment 4 at most; with --superlink those that are connected)"""
    superlink: str | None = None
    """with --backend deployment: a connection of your Flower configuration, on whose SuperLink and SuperNodes to run
    (default: those that the command starts on this machine)"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """where the cloud trains; auto: on a GPU if there is one"""
    cloud_users: Literal["simulated", "all"] | None = None
    """whose histories the cloud trains on: simulated (those of the devices) or all (of every user; default: simulated;
    all of generated data)"""
    epochs: int | None = None
    """most epochs of cloud training (default: 60; 10 on generated data; with --protocol paper exactly 20); DUET+ may
    take twice the default, and Forward-OFA+ has up to four before them, in which devices learn to choose"""
    patience: int | None = None
    """epochs without a better validation NDCG@10 (mean of three epochs) that end training; the first nine do not count
    (default: 6; with --protocol paper 0, never)"""
    learning_rate: float | None = None
    """of Adam, in cloud training (default: 0.005; 0.01 on generated data; with --protocol paper 0.001 for sasrec and
    0.002 for nextitnet); DUET+ has 0.005 as default there, Forward-OFA+ takes half of this"""
    targets: Literal["session", "last"] | None = None
    """session: train on windows of --context next items; last: on one (prefix, next item) at a time, as the paper does
    (default: session; last with --protocol paper)"""
    spread: float | None = None
    """share of each training target that is spread over what often follows the latest items in the histories (default:
    0.3; 0 on generated data and with --protocol paper)"""
    penalty: float | None = None
    """lambda of the compact constraint (default: 0.001; the paper's value with --protocol paper)"""
    temperature: float | None = None
    """tau of the Gumbel-softmax gates (default: 5; the paper's value with --protocol paper)"""
    seed: int = 0
    """of everything that is random"""
    seeds: int = 1
    """train and play this many times, with seeds --seed, --seed + 1, ..."""
    data_dir: Path | None = None
    """where raw data files are looked for first, before $SIM_DATA_DIR and the user's cache folder"""
    out: Path | None = None
    """run folder (default: runs/<dataset>-<devices>-<hash of the configuration>)"""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """print only the result, and the warnings about the data"""
    tensorboard: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """also write training curves and running quality for TensorBoard, while it runs, to tensorboard/ of the folder"""

    # -- derived -----------------------------------------------------------------------------------------------------

    @property
    def method_names(self) -> list[str]:
        """The methods, in the order given, and the references after them."""
        given = [name.strip() for name in self.methods.split(",") if name.strip()]
        return given + [name for name in self.reference_names if name not in given]

    @property
    def reference_names(self) -> list[str]:
        """The references that stand in every table."""
        if self.references == "none":
            return []
        default = REFERENCES + (OWN_REFERENCES if self.resolved_candidates == "all" else ())
        default += ORACLES if self.dataset in GENERATED else ()
        return list(default) if self.references is None else [x.strip() for x in self.references.split(",")]

    @property
    def resolved_blocks(self) -> int:
        """Blocks of the backbone."""
        return self.blocks if self.blocks is not None else DEFAULT_BLOCKS[self.backbone]

    @property
    def resolved_context(self) -> int:
        """Items that the backbone reads."""
        return self.context if self.context is not None else DEFAULT_CONTEXT[self.protocol]

    @property
    def resolved_memory(self) -> int:
        """Items that the extractors read."""
        return self.memory if self.memory is not None else DEFAULT_MEMORY[self.protocol]

    @property
    def resolved_candidates(self) -> Literal["unseen", "all"]:
        """What a device chooses from."""
        return self.candidates or ("unseen" if self.protocol == "stream" else "all")

    @property
    def resolved_cloud_users(self) -> Literal["simulated", "all"]:
        """Whose histories the cloud trains on."""
        return self.cloud_users or ("all" if self.dataset in GENERATED else "simulated")

    @property
    def sampled(self) -> int:
        """How many other candidates an item is ranked among beside the full ranking; 0: no sample."""
        kind, _, count = self.evaluate.partition(":")
        if self.evaluate == "full":
            return 0
        if kind != "sampled" or not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= MOST_SAMPLED:
            raise UserError(
                f"--evaluate is '{self.evaluate}'; it must be full, or sampled:N with N from 1 to 1,000,000"
            )
        return int(count)

    @property
    def resolved_delivery(self) -> "Delivery":
        """How devices come to networks that are made for them."""
        from models.delivery import Delivery

        return Delivery(self.delivery, self.code_bits)

    @property
    def upload_form(self) -> "UploadForm":
        """In which form devices send their latent interests."""
        from clients.upload import UploadForm  # here, since --help needs no NumPy

        clip, noise = self.latent_clip or 0.0, self.latent_noise or 0.0
        return UploadForm(self.upload == "latent", clip, noise, int(self.latent_bits))

    @property
    def nodes(self) -> int | None:
        """Flower's nodes that the devices are divided among; None: those of a federation that are connected."""
        if self.supernodes is not None or self.superlink is not None:
            return self.supernodes
        if self.backend == "inprocess":
            return self.devices
        fewest = 16 if self.backend == "ray" else 4
        return min(self.devices, max(fewest, -(-self.devices // 32) if self.backend == "ray" else 0))

    @property
    def seed_list(self) -> list[int]:
        """The seeds to train and play with."""
        return list(range(self.seed, self.seed + self.seeds))

    def contents(self) -> dict[str, str]:
        """What the files of the scenario and the drift say, each as a short hash."""
        return {"scenario": content("scenarios", self.scenario), "drift": content("drifts", self.drift)}

    def resolved(self) -> "Config":
        """The same with what follows from other options written out; the references are among the methods."""
        return replace(
            self,
            methods=",".join(self.method_names),
            references="none",
            blocks=self.resolved_blocks,
            context=self.resolved_context,
            memory=self.resolved_memory,
            candidates=self.resolved_candidates,
            cloud_users=self.resolved_cloud_users,
        )

    def identity(self) -> str:
        """A short hash of everything that decides the results: of a file what it says, not what it is called, and of an
        option that was left out what it stands for."""
        resolved = self.resolved()
        facts = {f.name: getattr(resolved, f.name) for f in fields(self) if f.name not in NOT_IDENTITY}
        facts["backend"] = Config.backend
        facts |= self.contents() | data_content(self.dataset)
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        """The run folder, absolute."""
        stem = Path(self.dataset).name.split(".")[0]
        default = Path("runs") / f"{stem}-{self.devices}-{self.identity()}"
        return (self.out or default).expanduser().absolute()

    def absolute(self) -> "Config":
        """The same with absolute paths, for processes that start elsewhere."""

        def full(name: str) -> str:
            return str(Path(name).expanduser().absolute()) if Path(name).suffix else name

        config = replace(self, dataset=full(self.dataset), scenario=full(self.scenario), drift=full(self.drift))
        data_dir = self.data_dir and self.data_dir.expanduser().absolute()
        return replace(config, out=config.folder, data_dir=data_dir)

    # -- as Flower's run configuration -------------------------------------------------------------------------------

    def to_flat(self) -> dict[str, bool | int | float | str]:
        """Scalars only, as Flower's run_config takes them; options that are not given are left out."""
        out: dict[str, bool | int | float | str] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                out[item.name.replace("_", "-")] = str(value) if isinstance(value, Path) else value
        return out

    @staticmethod
    def from_flat(values: Mapping[str, object]) -> "Config":
        """The inverse of :meth:`to_flat`; an empty text is an option that is not given, an unknown key a mistake."""
        known = {item.name: item for item in fields(Config)}
        given = {key.replace("-", "_"): value for key, value in values.items() if value != ""}
        for key in given:
            if key not in known:
                raise UserError(unknown("option", key.replace("_", "-"), (k.replace("_", "-") for k in known)))
        return Config(**{key: _typed(key, value) for key, value in given.items()})  # type: ignore[arg-type]

    # -- checks ------------------------------------------------------------------------------------------------------

    def check(self) -> "Config":
        """Raise :class:`UserError` for the first option that cannot be."""
        if not self.methods.replace(",", "").strip():
            raise UserError(f"--methods names no method; choose from {', '.join(METHODS)}")
        for name in self.method_names:
            _one_of("method", name, METHODS)
        if len(set(self.method_names)) < len(self.method_names):
            raise UserError(f"--methods names a method twice: {self.methods}")
        own = [name for name in self.method_names if name in OWN_REFERENCES]
        if own and self.resolved_candidates == "unseen":
            raise UserError(f"{own[0]} ranks what a device has seen, which is no candidate; use --candidates all")
        told = [name for name in self.method_names if name in ORACLES]
        if told and self.dataset not in GENERATED:
            raise UserError(
                f"{told[0]} is told the type of each user, which only generated data have; leave it out, or use "
                f"--dataset {GENERATED[0]}"
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and choices(item.name):  # the command line has checked these, others have not
                _one_of(item.name.replace("_", " "), value, choices(item.name))
            endless = item.name == "session_gap" and value == math.inf
            if isinstance(value, float) and not abs(value) <= LARGEST and not endless:
                allowed = f"finite and at most {LARGEST:g}" + (", or inf" if item.name == "session_gap" else "")
                raise UserError(f"--{item.name.replace('_', '-')} is {value}; it must be {allowed}")
        for option in (
            "devices",
            "blocks",
            "context",
            "memory",
            "session_length",
            "sessions",
            "epochs",
            "seeds",
            "supernodes",
        ):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UserError(f"--{option.replace('_', '-')} is {value}; it must be at least 1")
        self._check_policy()
        self._check_delivery()
        self._check_upload()
        _ = self.sampled
        if self.columns is not None:
            from sim.data.columns import parse_option

            parse_option(self.columns)
        if self.superlink is not None and self.backend != "deployment":
            raise UserError("--superlink names a connection for --backend deployment; give both")
        if self.split == "time" and self.protocol == "paper":
            raise UserError("--split time divides streams; --protocol paper plays the last item of each device")
        if self.retrain is not None and self.split != "time":
            raise UserError("--retrain needs the instants of --split time; give both")
        if self.retrain is not None and self.drift != "natural":
            raise UserError(
                f"--retrain with --drift {self.drift}: later versions would learn the events that devices play after "
                "their change, which are other users'; leave out one of the two"
            )
        for option in ("session_gap", "learning_rate", "temperature", "retrain"):
            value = getattr(self, option)
            if value is not None and not value > 0:
                raise UserError(f"--{option.replace('_', '-')} is {value}; it must be greater than 0")
        if self.spread is not None and not 0 <= self.spread < 1:
            raise UserError(f"--spread is {self.spread}; it must be at least 0 and less than 1")
        for option in ("patience", "penalty", "seed"):
            value = getattr(self, option)
            if value is not None and value < 0:
                raise UserError(f"--{option} is {value}; it must be at least 0")
        return self

    def _check_delivery(self) -> None:
        if self.code_bits not in (32, 16, 8):
            raise UserError(f"--code-bits is {self.code_bits}; it must be 32, 16 or 8")
        if self.delivery == "weights":
            return  # of which every method knows, so that none has to be imported
        for name in self.method_names:
            known = METHODS[name].deliveries
            if known and self.delivery not in known:
                allowed = [other for other, method in METHODS.items() if self.delivery in method.deliveries]
                why = f"'{name}' sends choices in place of weights"
                if "local" in known:
                    why = f"the mapper of '{name}' has no code that is smaller than a latent interest"
                raise UserError(f"--delivery {self.delivery}: {why}; methods that allow it: {', '.join(allowed)}")

    def _check_upload(self) -> None:
        for option in ("latent_clip", "latent_noise"):
            value = getattr(self, option)
            if value is not None and not value > 0:
                raise UserError(f"--{option.replace('_', '-')} is {value}; it must be greater than 0")
        if self.latent_noise is not None and self.latent_clip is None:
            raise UserError("--latent-noise counts multiples of --latent-clip; give both")
        altered = self.latent_clip is not None or self.latent_bits != "32"
        if self.delivery == "local" and (altered or self.upload == "path"):
            raise UserError("--delivery local sends no latent interest that a defence could alter; leave out one")
        if self.upload == "path" and altered:
            raise UserError("--upload path sends no latent interest to clip or to put into bits; give one or the other")
        if self.retrain is not None and (self.upload == "path" or self.latent_noise is not None):
            raise UserError("--upload path and --latent-noise need one version of a model; leave out --retrain")

    def _check_policy(self) -> None:
        try:
            _, parameter = parse(self.policy)
        except KeyError as error:
            raise UserError(unknown("policy", str(error.args[0]), POLICIES)) from None
        except ValueError as error:
            raise UserError(f"--policy: {error}") from None
        rate = self.request_rate
        if rate is None:
            return
        if not 0 < rate <= 1:
            raise UserError(f"--request-rate is {rate}; it must be above 0 and at most 1")
        if parameter is not None:
            raise UserError(f"--request-rate sets the parameter of the policy; leave it out of '{self.policy}'")
        if not takes_rate(self.policy):
            raise UserError(f"--request-rate: the policy '{self.policy}' has no parameter that a budget could set")


def choices(option: str) -> tuple[str, ...]:
    """What an option with few values may be; nothing for any other."""
    hint = _hints()[option]
    literals = [hint, *get_args(hint)]  # of an option that may be left out, one member of a union
    return tuple(value for literal in literals if get_origin(literal) is Literal for value in get_args(literal))


@cache
def _hints() -> dict[str, object]:
    return get_type_hints(Config)


def _typed(option: str, value: object) -> object:
    """A value of Flower's run configuration, or of a TOML file, as the type of the option."""
    hint = _hints()[option]
    kinds = {hint, *get_args(hint)}
    if value is None:
        return None
    if choices(option) or str in kinds:
        return str(value)
    if Path in kinds:
        return Path(str(value))
    wanted = next(kind for kind in (bool, int, float) if kind in kinds)
    if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    if wanted is float:
        try:
            return float(str(value))
        except ValueError:
            pass
    name = {bool: "true or false", int: "a whole number", float: "a number"}[wanted]
    raise UserError(f"--{option.replace('_', '-')} is {value!r}, not {name}")


def takes_rate(policy: str) -> bool:
    """Whether a budget of requests can set the parameter of this ``NAME`` or ``NAME:PARAMETER``."""
    kind, parameter = parse(policy)
    return parameter is None and (kind.rising is not None or kind.for_rate(1.0) is not None)


def _one_of(kind: str, name: str, choices: Iterable[str]) -> None:
    if name not in choices:
        raise UserError(unknown(kind, name, choices))


def to_toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables as TOML text; a value that is None is left out."""
    return tomli_w.dumps(
        {name: {key: value for key, value in table.items() if value is not None} for name, table in tables.items()}
    )
