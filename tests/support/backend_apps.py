"""The two apps that tests of backends play. They import little: each message to a SuperNode starts a process."""

import os
import signal
import threading
import time
from pathlib import Path

import psutil
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp

from clients.batch_app import BatchClientApp
from core.errors import UserError
from sim.backends.messaging import exchange, register

PATIENCE = 1800.0
"""Seconds for a process to start or to answer on a machine with other work."""
TEST = "TEST_OF_BACKENDS"
"""The variable by which :func:`of_this_test` finds what a test has started, and what that has."""

client_app = BatchClientApp()
server_app = ServerApp()


@client_app.query_many("register")
def register_device(messages: list[Message], contexts: list[Context]) -> list[Message]:
    return [
        Message(RecordDict({"device": MetricRecord({"partition": c.node_config["partition-id"]})}), reply_to=m)
        for m, c in zip(messages, contexts, strict=True)
    ]


@client_app.train_many()
def count(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Answer with 100 x device + number of messages so far; the device named in the configuration fails."""
    replies = []
    for message, context in zip(messages, contexts, strict=True):
        device = int(context.node_config["partition-id"])
        if device == context.run_config["broken-device"]:
            raise RuntimeError(f"device {device} is broken")
        seen = context.state.setdefault("seen", MetricRecord({"messages": 0}))
        seen["messages"] += 1
        answer = MetricRecord({"value": 100 * device + seen["messages"]})
        told = {"id": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS", ""), "niceness": niceness()}
        process = ConfigRecord(told)
        replies.append(Message(RecordDict({"answer": answer, "process": process}), reply_to=message))
    return replies


@client_app.train_many("interrupt")
def interrupt(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Press Ctrl-C in the process that the configuration names, while this message is being computed."""
    os.kill(int(contexts[0].run_config["caller"]), signal.SIGINT)
    time.sleep(1)
    return [Message(RecordDict(), reply_to=message) for message in messages]


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Two rounds; what the devices answered goes to the file the configuration names, one line per round.

    Then the end that the configuration names: of the ServerApp, of the caller, of the SuperLink.
    """
    config = context.run_config
    if config["end"] == "mistake":
        raise UserError("the 'path' is wrong: ü")
    nodes = register(grid, int(config["devices"]), timeout=PATIENCE)
    lines = []
    for _ in range(2):
        outcome = exchange(grid, [Message(RecordDict(), node, "train") for node in nodes], timeout=PATIENCE)
        replies = [answers[0] if answers else None for answers in outcome.values()]
        processes = {reply.content["process"]["id"] for reply in replies if reply and reply.has_content()}
        answers = [
            "lost" if r is None else f"error {r.error.code}" if r.has_error() else r.content["answer"]["value"]
            for r in replies
        ]
        lines.append(" ".join(str(answer) for answer in answers))
    threads = {reply.content["process"]["threads"] for reply in replies if reply and reply.has_content()}
    nicer = any(reply.content["process"]["niceness"] > niceness() for reply in replies if reply and reply.has_content())
    where = ["here" if os.getpid() in processes else "elsewhere", *sorted(threads), "nicer" if nicer else ""]
    lines.append(" ".join(where).strip())
    Path(str(config["output"])).write_text("\n".join(lines))
    if config["end"] == "interrupt":
        exchange(grid, [Message(RecordDict(), nodes[0], "train.interrupt")], timeout=PATIENCE)
    elif config["end"] == "superlink":
        (superlink,) = [p for p in of_this_test() if "flower-superlink" in " ".join(p.cmdline())]
        superlink.kill()
        threading.Event().wait()


def niceness() -> int:
    """How much this process gives way to others."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def of_this_test() -> list[psutil.Process]:
    """All living processes, but for this one, whose :data:`TEST` has the value that it has here."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(TEST) == os.environ[TEST]:
                found.append(process)
        except psutil.Error:
            continue
    return found
