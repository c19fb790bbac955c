"""Several machines on one: each a network namespace with an address of its own, and a mount namespace in which the
folders that programs write to (temporary files with the home in them, shared memory) are empty.

Nothing that a run writes here can be seen there. Code and packages can: they are installed on every machine.
Needs Linux, root and the commands `ip`, `unshare` and `mount`; :func:`possible` says whether they are there.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock

HERE = "10.77.0.1"
"""The address of this machine among them."""
_BRIDGE = "simbridge"
_PRIVATE = ("/tmp", "/dev/shm")


@dataclass
class Machine:
    """One machine, by the name of its network namespace."""

    name: str
    address: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, command: list[str], log: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start a command on it, which sees an empty disk."""
        mounts = " && ".join(f"mount -t tmpfs none {folder}" for folder in _PRIVATE)
        process = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.name, "unshare", "--mount", "--propagation", "private"),
                *("sh", "-c", f'{mounts} && mkdir /tmp/home && cd /tmp && exec "$@"', "sh", *command),
            ],
            env={**environment, "HOME": "/tmp/home"},
            stdin=subprocess.DEVNULL,
            stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def disk(self) -> Path:
        """The root of the files that its latest command sees."""
        return Path(f"/proc/{self.processes[-1].pid}/root")


@cache
def possible() -> bool:
    """Whether this user may make namespaces."""
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in ("ip", "unshare", "mount")):
        return False
    name = f"simprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    mounted = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    return subprocess.run(mounted, capture_output=True, check=False).returncode == 0


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines on one network with this one, at :data:`HERE`; all that they run ends with the block.

    Their names and addresses are the same in every process, so a second one waits until the first one's are gone.
    """
    found = [Machine(f"sim{number}", f"10.77.0.{number + 2}") for number in range(count)]
    with ExitStack() as stack:
        stack.enter_context(FileLock(Path(tempfile.gettempdir(), f"{_BRIDGE}.lock")))
        for left in (["link", "delete", _BRIDGE], *(["netns", "delete", one.name] for one in found)):
            subprocess.run(["ip", *left], check=False, capture_output=True)  # by a process that was killed
        _ip("link", "add", _BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "delete", _BRIDGE)
        _ip("address", "add", f"{HERE}/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for one in found:
            _ip("netns", "add", one.name)
            stack.callback(_ip, "netns", "delete", one.name)
            _ip("link", "add", f"{one.name}a", "type", "veth", "peer", "name", f"{one.name}b", "netns", one.name)
            _ip("link", "set", f"{one.name}a", "master", _BRIDGE, "up")
            for words in (
                ["link", "set", "lo", "up"],
                ["address", "add", f"{one.address}/24", "dev", f"{one.name}b"],
                ["link", "set", f"{one.name}b", "up"],
                ["route", "add", "default", "via", HERE],
            ):
                _ip("-n", one.name, *words)
        try:
            yield found
        finally:
            for process in [process for one in found for process in one.processes]:
                stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a command and all that it has started."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def wait_until(true: Callable[[], bool]) -> None:
    """Return when ``true`` gives True; the limit of every test ends a wait that would not."""
    while not true():
        time.sleep(0.2)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
