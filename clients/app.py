"""The Flower ClientApp: every device of every method runs this.

A device reads its own interactions, computes what :mod:`clients.inference` says, and sends nothing but what
:mod:`clients.messages` names. Here is only which message means what; how it is done is in the modules named. A node may
stand for one device or for a share of them.
"""

from functools import partial

from flwr.app import Context, Message, MetricRecord

from clients import ablations, depot, state_store
from clients.batch_app import BatchClientApp
from clients.device_batch import DeviceBatch, Records, honour, reply
from clients.device_state import DeviceState
from clients.fields import STATE_FIELDS, BadMessage, check, check_name
from clients.messages import pack_refusal
from clients.request import ask
from clients.session import finetune, litepred, personal, reference, shared
from clients.state_store import open_store
from core.errors import Damaged

app = BatchClientApp()


@app.query_many("register")
def register(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Say which of the nodes this is, where its configuration numbers it."""
    numbers = [context.node_config.get("partition-id") for context in contexts]
    records = [MetricRecord({} if number is None else {"partition": int(number)}) for number in numbers]
    return [reply(message, {"device": record}) for message, record in zip(messages, records, strict=True)]


@app.query_many("install")
def install(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Say which of the named files are not installed on this machine; what came with the message is."""
    wanted = {
        (depot.depot(context), digest)
        for message, context in zip(messages, contexts, strict=True)
        for digest in depot.read_wanted(message.content.get(depot.WANTED))
    }
    if missing := [digest for folder, digest in sorted(wanted) if not depot.intact(folder, digest)]:
        raise depot.NotInstalled(*missing)
    return [reply(message, {}) for message in messages]


@app.query_many("state")
def check_state(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Say whether a device remembers what it needs to go on with a killed run."""
    return [reply(message, _state_of(message, context)) for message, context in zip(messages, contexts, strict=True)]


@app.query_many("forget")
def forget(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Forget what the devices of this node remember of a method: it has been played."""
    for message, context in zip(messages, contexts, strict=True):
        told = check("state", message.content.get("state"), STATE_FIELDS[:1])
        check_name("state", told["state"])
        state_store.forget(context, told["state"])
    return [reply(message, {}) for message in messages]


def _state_of(message: Message, context: Context) -> Records:
    try:
        told = check("state", message.content.get("state"), STATE_FIELDS)
        check_name("state", told["state"])
        state = DeviceState(open_store(context, told["state"], told["device"]))
        state.check(told["session"], None if told["adapted"] < 0 else told["adapted"])
    except Damaged as error:
        return pack_refusal(str(error).split("; ")[0])  # what to do about it is the cloud's to say
    except BadMessage as error:
        return pack_refusal(str(error))
    return {}


@app.train_many()
def request(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Step 1 of a session: ask for a network, or by one's request policy do without."""
    return honour(ask, messages, contexts, "interest")


@app.train_many("random")
def request_random(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The same with other blocks than the controller's: as many, drawn at random."""
    return honour(partial(ask, redraw=ablations.random_blocks), messages, contexts, "interest")


@app.train_many("first")
def request_first(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """As many, from the front."""
    return honour(partial(ask, redraw=ablations.first_blocks), messages, contexts, "interest")


@app.train_many("last")
def request_last(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """As many, from the back."""
    return honour(partial(ask, redraw=ablations.last_blocks), messages, contexts, "interest")


@app.evaluate_many()
def rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Step 3: play the session with the installed network, or with the one the cloud sent."""

    def play(batch: DeviceBatch) -> list[Message]:
        return personal.rerank(batch) if batch.installed.fetches else shared.rerank(batch)

    return honour(play, messages, contexts, network=True)


@app.evaluate_many("controller")
def choose_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that chooses a path in the installed network."""
    return honour(shared.choose_and_rerank, messages, contexts, "controller")


@app.evaluate_many("reference")
def rank_by_reference(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that ranks without a network."""
    return honour(reference.rerank, messages, contexts, "reference")


@app.evaluate_many("finetune")
def finetune_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that trains the installed network further."""
    return honour(finetune.rerank, messages, contexts, "network")


@app.evaluate_many("litepred")
def search_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that looks for its own path in the installed network and trains that further."""
    return honour(litepred.rerank, messages, contexts, "network")
