"""The Flower ClientApp: every device of every method runs this.

A device reads its own interactions from its own disk, computes what :mod:`clients.inference` says, and sends nothing
but what :mod:`clients.messages` names. Here is only which message means what; how it is done is in the modules named.
"""

from functools import partial

from flwr.app import Context, Message, MetricRecord

from clients import ablations
from clients.batch_app import BatchClientApp
from clients.device_batch import DeviceBatch, device_of, honour, reply
from clients.request import ask
from clients.session import finetune, litepred, personal, shared

app = BatchClientApp()


@app.query_many("register")
def register(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Say which of the simulated devices this node is."""
    return [
        reply(message, {"device": MetricRecord({"partition": device_of(context)})})
        for message, context in zip(messages, contexts, strict=True)
    ]


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
        return personal.rerank(batch) if batch.installed.network is None else shared.rerank(batch)

    return honour(play, messages, contexts, network=True)


@app.evaluate_many("controller")
def choose_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that chooses a path in the installed network."""
    return honour(shared.choose_and_rerank, messages, contexts, "controller")


@app.evaluate_many("finetune")
def finetune_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that trains the installed network further."""
    return honour(finetune.rerank, messages, contexts, "network")


@app.evaluate_many("litepred")
def search_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that looks for its own path in the installed network and trains that further."""
    return honour(litepred.rerank, messages, contexts, "network")
