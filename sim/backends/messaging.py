"""How the cloud talks to devices, on whatever grid: find them once, then send to them in chunks."""

import time
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

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
    replies = exchange(grid, [Message(RecordDict(), node, REGISTER) for node in nodes], timeout)
    partitions: dict[int, int] = {}
    for node, reply in replies.items():
        if reply is None or reply.has_error():
            why = "no answer" if reply is None else reply.error.reason
            raise RuntimeError(f"node {node} did not register: {why}")
        partitions[node] = int(reply.content.metric_records["device"]["partition"])  # type: ignore[arg-type]
    if sorted(partitions.values()) != list(range(num_devices)):
        raise RuntimeError(f"{len(nodes)} nodes do not stand for the devices 0 .. {num_devices - 1}, each once")
    return sorted(partitions, key=partitions.__getitem__)


def exchange(
    grid: Grid, messages: Iterable[Message], timeout: float | None, chunk: int = 64
) -> dict[int, Message | None]:
    """Send at most one message to each node and collect the replies.

    Returns one entry per message, node id -> reply, in the order of the messages, whatever order the replies
    came in. A reply may carry an Error of the node's own; None stands for a message or reply that was lost, or that
    the network reports as such.

    ``timeout`` (seconds) is for each chunk of ``chunk`` messages. Flower's Simulation Engine rescans every
    stored message for every node, so small chunks are faster there and keep fewer payloads in memory.
    ValueError if two messages go to the same node.
    """
    outcome: dict[int, Message | None] = {}
    pending: list[Message] = []

    def send() -> None:
        replies = list(grid.send_and_receive(pending, timeout=timeout))
        nodes = {message.metadata.message_id: message.metadata.dst_node_id for message in pending}
        for reply in replies:
            node = nodes[reply.metadata.reply_to_message_id]
            # What the network reports in a node's place (unavailable, expired) has the network as its sender.
            outcome[node] = reply if reply.metadata.src_node_id == node else None
        pending.clear()

    for message in messages:
        node = message.metadata.dst_node_id
        if node in outcome:
            raise ValueError(f"two messages to node {node} in one exchange")
        outcome[node] = None
        pending.append(message)
        if len(pending) == chunk:
            send()
    if pending:
        send()
    return outcome
