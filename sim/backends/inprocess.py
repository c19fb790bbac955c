"""The in-process grid: every device of the simulation in this process, one Flower message per device and
direction.

It calls the same ClientApp that Flower's Simulation Engine and real SuperNodes call, without a queue, a store
or a second process in between. Flower has no public way to register another simulation backend, and
`Message()` reads the identity of the running task, so this file needs a few names that Flower does not
export. They are all imported here and nowhere else.
"""

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Protocol, runtime_checkable

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import NUM_PARTITIONS_KEY, PARTITION_ID_KEY, SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore import telemetry
from flwr.supercore.exit import add_exit_handler
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from clients.folders import DEVICE_DIR
from core.seeds import derive

log = logging.getLogger(__name__)

ConfigValue = bool | float | int | str


@runtime_checkable
class TakesBatches(Protocol):
    """A ClientApp that handles many devices in one call (`clients.batch_app.BatchClientApp`)."""

    def call_many(self, messages: list[Message], contexts: list[Context]) -> list[Message]: ...


class InProcessGrid(Grid):
    """A grid of virtual nodes in this process.

    Messages wait until their replies are pulled; then they are executed in order, at most ``batch`` at a time
    where the app offers `call_many`. Replies come back in the order of the messages. If a batch raises, each
    of its messages is executed alone, so that one device's exception costs one message: its reply carries an
    Error. As on Flower's own runtimes, a device whose handler raised keeps the state it had before that
    message. KeyboardInterrupt and its like pass through, and the messages that were still waiting are
    forgotten.

    Parameters
    ----------
    client_app : the app that every node runs.
    num_devices : number of nodes; node i has partition-id i, which only the node itself knows.
    run_config : what the apps find in ``context.run_config``.
    seed : node ids are derived from it; they say nothing about the partition.
    batch : most messages handed to `call_many` at once.
    node_config : what every node finds in ``context.node_config`` beside its number.
    """

    one_machine = True
    """Whether what is installed for one node is installed for all."""

    def __init__(
        self,
        client_app: ClientApp,
        num_devices: int,
        *,
        run_config: Mapping[str, ConfigValue] | None = None,
        seed: int = 0,
        batch: int = 64,
        node_config: Mapping[str, ConfigValue] | None = None,
    ) -> None:
        if num_devices < 1 or batch < 1:
            raise ValueError(f"num_devices and batch must be at least 1, got {num_devices} and {batch}")
        self._app = client_app
        self._batch = batch if isinstance(client_app, TakesBatches) else 1
        self._run_config = dict(run_config or {})
        self._node_config = dict(node_config or {})
        self._partitions = {derive(seed, "node", index): index for index in range(num_devices)}
        if len(self._partitions) != num_devices:
            raise ValueError(f"seed {seed} gives two devices the same node id; take another seed")
        self._states: dict[int, RecordDict] = {}
        self._waiting: dict[str, Message] = {}
        self._sent = 0
        self.set_run(Run.create_empty(derive(seed, "run")))

    def set_run(self, run: Run) -> None:
        """Set the run this grid operates in."""
        self._run = run
        TaskIdentity.run_id = run.run_id
        TaskIdentity.task_id = 1
        TaskIdentity.node_id = SUPERLINK_NODE_ID

    @property
    def remembers_on_disk(self) -> bool:
        """Whether devices keep their states in a folder, where other processes find them, and not in this one."""
        return bool(self._node_config.get(DEVICE_DIR))

    @property
    def run(self) -> Run:
        """A copy of the run's description."""
        return Run(**vars(self._run))

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The ids of all nodes, in ascending order, which is unrelated to their partitions."""
        return sorted(self._partitions)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Take messages for delivery; nothing runs until their replies are pulled.

        Raises ValueError if one of them is addressed to a node that does not exist; then none is taken.
        """
        taken = list(messages)
        for message in taken:
            if message.metadata.dst_node_id not in self._partitions:
                raise ValueError(f"there is no node {message.metadata.dst_node_id} in this grid")
        ids = []
        for message in taken:
            self._sent += 1
            ids.append(str(self._sent))
            message.metadata.__dict__["_message_id"] = ids[-1]
            self._waiting[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Execute the messages with these ids and return their replies, in this order.

        Every reply is handed out once: ids that are unknown or were pulled before are passed over.
        """
        messages = [self._waiting.pop(key) for key in message_ids if key in self._waiting]
        messages.reverse()  # taken from the end, so that a message is freed once its batch is answered
        replies: list[Message] = []
        while messages:
            batch = [messages.pop()]
            kind = batch[0].metadata.message_type
            nodes = {batch[0].metadata.dst_node_id}
            while messages and len(batch) < self._batch:
                following = messages[-1].metadata
                # A device's second message must see the state its first one left.
                if following.message_type != kind or following.dst_node_id in nodes:
                    break
                nodes.add(following.dst_node_id)
                batch.append(messages.pop())
            replies += self._execute(batch)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and return one reply for each, in their order.

        ``timeout`` has no effect: devices compute in this very call, and cutting it short would make results
        depend on the speed of the machine.
        """
        return self.pull_messages(self.push_messages(messages))

    def _execute(self, messages: list[Message]) -> list[Message]:
        """Run messages of one type to different nodes, together if possible, else one by one."""
        if isinstance(self._app, TakesBatches) and len(messages) > 1:
            contexts = [self._open(message) for message in messages]
            try:
                replies = self._app.call_many(messages, contexts)
                for reply, message in zip(replies, messages, strict=True):
                    _check_reply(reply, message)
            except Exception:
                log.info("a batch of %d messages failed; trying them one by one", len(messages), exc_info=True)
            else:
                for context in contexts:
                    self._keep(context)
                return replies
        return [self._execute_one(message) for message in messages]

    def _execute_one(self, message: Message) -> Message:
        context = self._open(message)
        try:
            reply = self._app(message, context)
            _check_reply(reply, message)
        except Exception as error:
            log.error(
                "node %d failed on a %s message",
                context.node_id,
                message.metadata.message_type,
                exc_info=True,
            )
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        if not reply.has_error():
            self._keep(context)
        return reply

    def _keep(self, context: Context) -> None:
        """Keep a device's state; one that holds nothing takes no memory."""
        if len(context.state):
            self._states[context.node_id] = context.state
        else:
            self._states.pop(context.node_id, None)

    def _open(self, message: Message) -> Context:
        """The context for one message. Its state is a copy, kept only if the message is answered."""
        node_id = message.metadata.dst_node_id
        kept = self._states.get(node_id)
        return Context(
            run_id=self._run.run_id,
            node_id=node_id,
            node_config={
                **self._node_config,
                PARTITION_ID_KEY: self._partitions[node_id],
                NUM_PARTITIONS_KEY: len(self._partitions),
            },
            state=RecordDict() if kept is None else _copy(kept),
            run_config=self._run_config.copy(),
        )


def _check_reply(reply: Message, message: Message) -> None:
    if reply.metadata.reply_to_message_id != message.metadata.message_id:
        raise ValueError("the ClientApp's reply belongs to another message")


def _copy(state: RecordDict) -> RecordDict:
    """A copy that shares only what cannot change: the arrays' bytes, numbers and strings."""
    copied = state.copy()
    for name, record in state.items():
        values: MutableMapping[str, Any] = record.copy()
        for key, value in values.items():
            if isinstance(value, list):
                values[key] = value.copy()
        copied[name] = values  # type: ignore[assignment]
    return copied


def silence_telemetry() -> None:
    """Keep Flower from reporting to its makers, even if it was imported without FLWR_TELEMETRY_ENABLED=0."""
    telemetry.FLWR_TELEMETRY_ENABLED = "0"


def print_at_exit(line: str) -> None:
    """Print a line when one of Flower's own processes ends, after all that Flower says about the end; nowhere else."""
    add_exit_handler(lambda: print(line, flush=True))
