"""How the cloud talks to devices, on whatever grid: find them once, then send to them in chunks."""

import logging
import time
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

log = logging.getLogger(__name__)

REGISTER = "query.register"


def register(grid: Grid, num_devices: int, timeout: float = 600.0) -> list[int]:
    """Wait until ``num_devices`` nodes are there and ask each which device it is.

    Returns the node ids in the order of the devices: entry d is the node of device d. Every node answers a
    `query.register` message with the MetricRecord "device", whose "partition" is its device number.

    ``timeout`` is in seconds, for the nodes to appear and for each chunk of answers. Raises TimeoutError if
    they do not, RuntimeError if a node fails to answer or the answers are not exactly the devices 0 ..
    num_devices - 1.
    """
    deadline = time.monotonic() + timeout
    while len(nodes := list(grid.get_node_ids())) < num_devices:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(nodes)} of {num_devices} devices connected within {timeout:g} s")
        time.sleep(0.1)
    answers = exchange(grid, [Message(RecordDict(), node, REGISTER) for node in nodes], timeout)
    partitions: dict[int, int] = {}
    for node, replies in answers.items():
        if len(replies) != 1 or replies[0].has_error():
            why = replies[0].error.reason if replies and replies[0].has_error() else f"{len(replies) or 'no'} answers"
            raise RuntimeError(f"node {node} did not register: {why}")
        partitions[node] = int(replies[0].content.metric_records["device"]["partition"])  # type: ignore[arg-type]
    if sorted(partitions.values()) != list(range(num_devices)):
        raise RuntimeError(f"{len(nodes)} nodes do not stand for the devices 0 .. {num_devices - 1}, each once")
    return sorted(partitions, key=partitions.__getitem__)


def exchange(
    grid: Grid, messages: Iterable[Message], timeout: float | None, chunk: int = 64
) -> dict[int, list[Message]]:
    """Send at most one message to each node and collect what the nodes reply.

    Returns one entry per message, node id -> its replies, in the order of the messages, whatever order the replies
    came in: one reply, which may carry an Error of the node's own, or none where the message or its reply was lost or
    the network reports it as such. A node that breaks the protocol may have sent more, or the answer to something else:
    that is for the receiver to judge. Replies of nodes that were not asked are left out.

    ``timeout`` (seconds) is for each chunk of ``chunk`` messages. Flower's Simulation Engine rescans every
    stored message for every node, so small chunks are faster there and keep fewer payloads in memory.
    ValueError if two messages go to the same node.
    """
    outcome: dict[int, list[Message]] = {}
    pending: list[Message] = []

    def send() -> None:
        asked = {message.metadata.dst_node_id for message in pending}
        for reply in grid.send_and_receive(pending, timeout=timeout):
            node = reply.metadata.src_node_id
            if node in asked:
                outcome[node].append(reply)
            elif not reply.has_error():  # an error of the network's own (unavailable, expired) is no reply at all
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
