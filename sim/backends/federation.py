"""A federation that is there already: Flower runs the apps on a connection of the user's own configuration.

No process of the federation is started here. TLS, authentication and accounts are Flower's; the code is that of the
package that is installed on the SuperLink's machine and on those of the SuperNodes. A run ends with the command that
started it, however that one ends: a watcher (:mod:`sim.backends.processes`) then has the SuperLink stop it.
"""

import os
import re
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path

from core.errors import UserError
from core.interrupts import terminated_like_interrupted
from sim.backends.deployment import flower_environment, write_app
from sim.backends.inprocess import ConfigValue
from sim.backends.processes import ProcessGroup

FINISHED, FAILED = "finished: ", "error: "
"""How the last line of a ServerApp begins, by which its end is known where nothing else of it is."""
PATIENCE = 20.0
"""Seconds that an interrupted command waits to learn the number of the run that it has just started."""
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_STARTED = re.compile(r"Successfully started run (\d+)")
_RUN = "command flwr run"


def run_federation(
    connection: str,
    server_app: str,
    client_app: str,
    *,
    run_config: Mapping[str, ConfigValue],
    log_file: Path,
    show: Callable[[str], None],
) -> None:
    """Run the apps (import strings) on a ``connection`` of the user's Flower configuration; ``show`` gets its output.

    Raises UserError with what ended the run if it did not end well. Whatever else ends this call, KeyboardInterrupt
    above all, ends the run on the SuperLink, too.
    """
    environment = {key: value for key, value in flower_environment(None).items() if key != "PYTHONPATH"}
    command = shutil.which("flwr", path=environment["PATH"])
    if command is None:
        raise UserError("the command flwr is not installed: pip install 'flwr[simulation]'")
    with (
        tempfile.TemporaryDirectory(prefix="federation-") as name,
        log_file.open("a", encoding="utf-8", buffering=1) as log,  # the watcher writes to it, too
        terminated_like_interrupted(),
        ProcessGroup(Path(name)) as group,
    ):
        write_app(Path(name) / "app", server_app, client_app, run_config)
        reading, writing = os.pipe()
        with FileIO(reading) as output, FileIO(writing, "w") as end:  # unbuffered, so that `select` sees all there is
            group.start(_RUN, ["flwr", "run", str(Path(name) / "app"), connection, "--stream"], environment, end)
            end.close()
            started, last, ended = "", "", ""

            def note(line: str) -> None:
                """Have the run stopped when this process ends, as soon as it is known which one it is."""
                nonlocal started
                if not started and (found := _STARTED.search(line)):
                    started = found[1]
                    group.at_end([command, "stop", started, connection], log_file)

            try:
                for line in _lines(output):
                    log.write(line)
                    text = _COLOURS.sub("", line).strip()
                    note(text)
                    last = text or last
                    if text.startswith((FINISHED, FAILED)):
                        ended = text
                    elif text:
                        show(text)
            except BaseException:
                lines = _lines(output, PATIENCE)
                while not started and (late := next(lines, None)) is not None:
                    note(late)
                if started:
                    show(f"stopping run {started} on the connection '{connection}'")
                raise
        how = group.finish(_RUN)
        if ended:
            group.at_end([], log_file)  # it has ended by itself
    if ended.startswith(FAILED):
        raise UserError(ended.removeprefix(FAILED))
    if how != "exit status 0" or not ended:
        raise UserError(
            f"the run on the connection '{connection}' has ended before its ServerApp did (flwr run: {how}; {last}): "
            f"see {log_file}; the same command continues"
        )


def _lines(output: FileIO, seconds: float | None = None) -> Iterator[str]:
    """The lines of a pipe, to its end or for so many ``seconds``."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        if deadline is not None and not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return
        line = output.readline()
        if not line:
            return
        yield line.decode(errors="replace")
