"""How the cloud talks to devices, on whatever grid: find them once, then send to them in chunks."""

import logging
import time
from collections.abc import Iterable, Iterator

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from clients.fields import BadMessage
from clients.messages import DeviceFault, content_of
from core.errors import UserError

log = logging.getLogger(__name__)

REGISTER = "query.register"
AT_ONCE = 4096
"""Nodes that are asked the same at once."""
SETTLED = 5.0
"""Seconds without a new node after which no more are expected."""


def register(grid: Grid, num_devices: int, supernodes: int | None = None, timeout: float = 600.0) -> list[int]:
    """Wait for the nodes that play the devices, and ask each for its number.

    Returns the node ids in the order of the nodes' numbers: every node answers a `query.register` message with the
    MetricRecord "device", whose "partition" is its number; nodes that have none come after the others, by their ids.
    At most ``num_devices`` of them have something to play.

    Waits for ``supernodes`` nodes, or, where that is None, until there are as many as devices or none has joined for
    some seconds. ``timeout`` is in seconds, for the nodes to appear and for each chunk of answers. Raises UserError if
    they do not, if a node fails to answer or two have the same number.
    """
    nodes = _wait_for_nodes(grid, num_devices, supernodes, timeout)
    numbers: dict[int, int] = {}
    for some in slices(nodes):
        answers = exchange(grid, [Message(RecordDict(), node, REGISTER) for node in some], timeout)
        for node, replies in answers.items():
            try:
                if len(replies) != 1:
                    raise BadMessage(f"{len(replies) or 'no'} answers")
                record = content_of(replies[0]).metric_records["device"]
            except (BadMessage, DeviceFault) as error:
                raise UserError(
                    f"node {node} did not register: {error}; is this package installed on its machine? Mend that, and "
                    "the same command continues"
                ) from None
            if "partition" in record:
                numbers[node] = int(record["partition"])  # type: ignore[arg-type]
    if len(set(numbers.values())) < len(numbers):
        raise UserError(f"of {len(nodes)} nodes two have the same number: give each its own partition-id")
    last = max(numbers.values(), default=0) + 1
    return sorted(nodes, key=lambda node: (numbers.get(node, last), node))


def slices(nodes: list[int]) -> Iterator[list[int]]:
    """Some nodes after the other, so that not the messages of all nodes are alive at once."""
    for start in range(0, len(nodes), AT_ONCE):
        yield nodes[start : start + AT_ONCE]


def _wait_for_nodes(grid: Grid, num_devices: int, supernodes: int | None, timeout: float) -> list[int]:
    deadline, joined, before = time.monotonic() + timeout, time.monotonic(), 0
    while True:
        nodes = list(grid.get_node_ids())
        now = time.monotonic()
        if len(nodes) != before:
            joined, before = now, len(nodes)
        if len(nodes) >= (supernodes or num_devices):
            return nodes
        if supernodes is None and nodes and now - joined > SETTLED:
            return nodes
        if now > deadline:
            raise UserError(
                f"{len(nodes)} of {supernodes or num_devices} nodes connected within {timeout:g} s: start more, or "
                "give a smaller --supernodes; the same command continues"
            )
        time.sleep(0.1)


def exchange(
    grid: Grid, messages: Iterable[Message], timeout: float | None, chunk: int = 64
) -> dict[int, list[Message]]:
    """Send at most one message to each node and collect what the nodes reply.

    Returns one entry per message, node id -> its replies, in the order of the messages, whatever order the replies
    came in: one reply, which may carry an Error, of the node's own or of the network's in its place (unavailable,
    expired), or none where nothing came in time. A node that breaks the protocol may have sent more, or the answer to
    something else: that is for the receiver to judge. Replies of nodes that were not asked are left out.

    ``timeout`` (seconds) is for each chunk of ``chunk`` messages. Flower's Simulation Engine rescans every
    stored message for every node, so small chunks are faster there and keep fewer payloads in memory.
    ValueError if two messages go to the same node.
    """
    outcome: dict[int, list[Message]] = {}
    pending: list[Message] = []

    def send() -> None:
        asked = {message.metadata.dst_node_id for message in pending}
        replies = list(grid.send_and_receive(pending, timeout=timeout))
        told = {message.metadata.message_id: message for message in pending}  # sending gives them their ids
        for reply in replies:
            message = told.get(reply.metadata.reply_to_message_id)
            if reply.has_error() and reply.metadata.src_node_id not in asked and message is not None:
                reply = Message(reply.error, reply_to=message)  # the network's, which comes from no node
            node = reply.metadata.src_node_id
            if node in asked:
                outcome[node].append(reply)
                if reply.has_error():  # with all that the engine says of it, of which other lines have a part
                    log.warning("node %d: %s", node, reply.error.reason)
            else:
                log.warning("ignored a reply from node %d, which was not asked", node)
        pending.clear()

    for message in messages:
        node = message.metadata.dst_node_id
        if node in outcome:
            raise ValueError(f"two messages to node {node} in one exchange")
        outcome[node] = []
        pending.append(message)
        if len(pending) == chunk:
            send()
    if pending:
        send()
    return outcome
