"""The devices of a run, each on one of Flower's nodes, and what all exchanges with them have in common.

A node stands for one device or, where there are fewer nodes than devices, for a share of them: then one message carries
what its devices are told, and one reply what they answer (:mod:`clients.batch_messages`). Nobody beside this module
knows of it: a device has an address, messages go to addresses, and replies come from them.

Files are installed by content (:mod:`clients.depot`): a machine that lacks one says so, and gets it once.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from clients import depot
from clients.batch_messages import pack_batch, read_error, unpack_batch
from clients.fields import BadMessage
from clients.messages import RAISED, DeviceFault, check_answers, content_of
from core.errors import UserError
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import exchange, slices

log = logging.getLogger(__name__)

INSTALL, STATE, FORGET = "query.install", "query.state", "query.forget"
SHARE = 32
"""Devices of one node that follow each other; so a wave of devices is spread over all nodes."""
ATTEMPTS = 12
"""Times that a message is sent again with the files that a machine lacks."""
IGNORED = 0.01
"""Share of the messages whose nodes may go on saying so: a device that lies costs the others nothing."""


class Population:
    """The devices of a run, by number; ``addresses`` has one for each."""

    def __init__(self, grid: Grid, nodes: list[int], num_devices: int) -> None:
        """``nodes`` are Flower's, in the order of their numbers; those beyond the devices play nothing."""
        self.grid = grid
        self._shared = len(nodes) < num_devices
        if self._shared:
            count = len(nodes) * -(-num_devices // (SHARE * len(nodes)))
            homes = [nodes[(device * count // num_devices) % len(nodes)] for device in range(num_devices)]
            self.addresses = list(range(1, num_devices + 1))
        else:
            self.addresses = homes = nodes[:num_devices]
        self._homes = dict(zip(self.addresses, homes, strict=True))
        self.nodes = list(dict.fromkeys(homes))
        """Those that have something to play."""
        self._files: dict[str, Path] = {}

    def home(self, address: int) -> int:
        """Flower's node id of a device."""
        return self._homes[address]

    # -- devices ---------------------------------------------------------------------------------------------------

    def exchange(self, messages: Iterable[Message], timeout: float | None) -> dict[int, list[Message]]:
        """Send at most one message to each device, all of one type, and collect what the devices reply.

        As :func:`sim.backends.messaging.exchange`, by the devices' addresses. Raises UserError if a machine goes on
        lacking a file that was sent to it, or lacks one that nobody has.
        """
        if not self._shared:
            return self._provided(list(messages), timeout)
        together: dict[int, list[Message]] = defaultdict(list)
        for message in messages:
            together[self._homes[message.metadata.dst_node_id]].append(message)
        sent = [
            Message(
                pack_batch([one.content for one in mine]), dst_node_id=node, message_type=mine[0].metadata.message_type
            )
            for node, mine in together.items()
        ]
        replies = self._provided(sent, timeout)
        outcome: dict[int, list[Message]] = {}
        for batch in sent:
            node = batch.metadata.dst_node_id
            outcome.update(_parted(batch, together[node], replies[node]))
        return outcome

    # -- nodes -----------------------------------------------------------------------------------------------------

    def install(self, files: Mapping[str, Path], timeout: float | None) -> None:
        """Have these files, by their digests, on every machine; what was installed before is passed over.

        Raises UserError if a node does not manage it.
        """
        fresh = {digest: path for digest, path in files.items() if digest not in self._files}
        if not fresh:
            return
        self._files.update(fresh)
        wanted = RecordDict({depot.WANTED: depot.pack_wanted(fresh)})
        asked = self.nodes[:1] if isinstance(self.grid, InProcessGrid) and self.grid.one_machine else self.nodes
        for node, why in self._ask(INSTALL, wanted, timeout, asked).items():
            names = ", ".join(path.name for path in fresh.values())
            raise UserError(f"node {node} cannot install {names}: {why}; mend that, and the same command continues")

    def provide(self, files: Mapping[str, Path]) -> None:
        """Have these files, by their digests, for machines that turn out to lack one."""
        self._files.update(files)

    def forget(self, state: str, timeout: float | None) -> None:
        """Have the devices forget what they keep under this name; what goes wrong is noted in the log."""
        content = RecordDict({"state": ConfigRecord({"state": state})})
        for node, why in self._ask(FORGET, content, timeout, self.nodes).items():
            log.warning("node %d has not forgotten %s: %s", node, state, why)

    def remember(self, state: str, session: int, adapted: Mapping[int, int], timeout: float | None) -> dict[int, str]:
        """What is wrong with the state of each device that should be ready to play ``session``; empty: nothing.

        ``adapted`` has the last session in which a device adapted, of those that ever did, by their numbers.
        """
        messages = [
            Message(
                RecordDict(
                    {
                        "state": ConfigRecord(
                            {"state": state, "device": d, "session": session, "adapted": adapted.get(d, -1)}
                        )
                    }
                ),
                dst_node_id=address,
                message_type=STATE,
            )
            for d, address in enumerate(self.addresses)
        ]
        replies = self.exchange(messages, timeout)
        problems = {d: _problem(replies[address]) for d, address in enumerate(self.addresses)}
        return {device: why for device, why in problems.items() if why is not None}

    def _ask(self, kind: str, content: RecordDict, timeout: float | None, nodes: list[int]) -> dict[int, str]:
        """Send the same to each of these nodes; what was wrong, by node."""
        found: dict[int, str] = {}
        for some in slices(nodes):
            messages = [Message(RecordDict(dict(content)), node, kind) for node in some]
            problems = {node: _problem(replies) for node, replies in self._provided(messages, timeout).items()}
            found.update((node, why) for node, why in problems.items() if why is not None)
        return found

    # -- files -----------------------------------------------------------------------------------------------------

    def _provided(self, messages: list[Message], timeout: float | None) -> dict[int, list[Message]]:
        """Exchange these messages with Flower's nodes; those that were answered by ``missing`` go out again.

        Of the nodes of one depot one gets the files, then two, then four, as Ray may run a node on another machine the
        next time; the others are asked again as they were. The replies answer the ``messages`` given.
        """
        outcome = exchange(self.grid, messages, timeout)
        told = {message.metadata.dst_node_id: message for message in messages}
        for attempt in range(ATTEMPTS):
            lacking = {node: missing for node, replies in outcome.items() if (missing := self._lacks(replies))}
            if not lacking:
                return outcome
            carriers = _carriers(lacking, 2**attempt)
            carried = {node: self._contents(lacking[node][0]) for node in carriers}
            first = [_again(told[node], files) for node, files in carried.items()]
            rest = [_again(told[node], {}) for node in lacking if node not in carried]
            log.info("%d nodes lacked files; %d messages carried %s", len(lacking), len(first), _sizes(carried))
            for sent in (first, rest):
                for node, replies in exchange(self.grid, sent, timeout).items():
                    outcome[node] = [_as_answer(reply, told[node]) for reply in replies]
        if len(lacking) <= IGNORED * len(messages):
            return outcome  # what they said stands for their answer, and whoever reads it rejects it
        node, (digests, _) = next(iter(lacking.items()))
        raise UserError(
            f"node {node} goes on lacking the file {digests[0][:12]}, which was sent to its machine {ATTEMPTS} times: "
            f"is its folder for devices (device-dir, ${depot.FOLDER_VARIABLE}) one that it can write to?"
        )

    def _lacks(self, replies: list[Message]) -> tuple[list[str], str] | None:
        """What a node lacks of the files of this run, and the name of its depot; None if it said something else."""
        missing = _missing(replies)
        return missing if missing and missing[0] and all(digest in self._files for digest in missing[0]) else None

    def _contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        return {digest: self._files[digest].read_bytes() for digest in digests}


def _carriers(lacking: Mapping[int, tuple[list[str], str]], most: int) -> list[int]:
    """So many nodes of each depot."""
    depots: dict[str, list[int]] = defaultdict(list)
    for node, (_, name) in lacking.items():
        depots[name].append(node)
    return [node for nodes in depots.values() for node in nodes[:most]]


def _again(message: Message, files: Mapping[str, bytes]) -> Message:
    content = RecordDict(dict(message.content))
    content.pop(depot.INSTALL, None)
    if files:
        content[depot.INSTALL] = depot.pack_install(files)
    return Message(content, dst_node_id=message.metadata.dst_node_id, message_type=message.metadata.message_type)


def _as_answer(reply: Message, told: Message) -> Message:
    if reply.has_error():
        return Message(reply.error, reply_to=told)
    return Message(reply.content, reply_to=told)


def _missing(replies: list[Message]) -> tuple[list[str], str] | None:
    """What a node lacks, and the name of its depot."""
    if len(replies) != 1 or not replies[0].has_content() or set(replies[0].content) != {depot.MISSING}:
        return None
    try:
        return depot.read_missing(replies[0].content[depot.MISSING])
    except BadMessage:
        return None  # its reader rejects it


def _problem(replies: list[Message]) -> str | None:
    """Why a query was not answered as it should be."""
    if len(replies) != 1:
        return f"{len(replies) or 'no'} replies came back"
    try:
        content = content_of(replies[0])
    except (BadMessage, DeviceFault) as error:
        return str(error)
    return f"holds the records {sorted(content)}" if len(content) else None


def _parted(batch: Message, told: list[Message], replies: list[Message]) -> dict[int, list[Message]]:
    """The replies of the devices of one node, in whose place the node has answered; none where it has not."""
    parts: dict[int, list[Message]] = {message.metadata.dst_node_id: [] for message in told}
    for reply in replies:
        for message, part in zip(told, _part(batch, told, reply), strict=True):
            parts[message.metadata.dst_node_id].append(part)
    return parts


def _part(batch: Message, told: list[Message], reply: Message) -> list[Message]:
    if reply.has_error():
        return [Message(Error(reply.error.code, reply.error.reason), reply_to=message) for message in told]
    try:
        check_answers(reply, batch.metadata)
        contents = unpack_batch(reply.content)
        if len(contents) != len(told):
            raise BadMessage(f"replies for {len(contents)} devices, expected {len(told)}")
        errors = [read_error(content) for content in contents]
    except BadMessage as error:
        log.warning("node %d: %s", reply.metadata.src_node_id, error)
        return [Message(RecordDict(dict(reply.content)), reply_to=message) for message in told]
    return [
        Message(content, reply_to=message) if why is None else Message(Error(RAISED, why), reply_to=message)
        for message, content, why in zip(told, contents, errors, strict=True)
    ]


def _sizes(carried: Mapping[int, Mapping[str, bytes]]) -> str:
    return f"{sum(len(content) for files in carried.values() for content in files.values())} bytes"
