"""A run's log holds one traceback for each kind of error, however many devices meet it."""

import logging
from pathlib import Path

from sim.backends.run_log import FirstTracebackOnly


def test_a_traceback_is_written_once_and_every_error_in_one_line(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "run.log")
    handler.addFilter(FirstTracebackOnly())
    log = logging.Logger("devices")
    log.addHandler(handler)
    for device in range(20):
        try:
            raise FileNotFoundError(f"world/{device:06d}/items.npy")
        except FileNotFoundError:
            log.exception("node %d failed", device)
    log.error("first\nTraceback (most recent call last):\nValueError: 3 of 4")
    log.error("second\nTraceback (most recent call last):\nValueError: 5 of 6")
    log.warning("a line of its own")
    handler.close()
    text = (tmp_path / "run.log").read_text()
    assert text.count("Traceback") == 2
    assert [text.count(f"node {device} failed") for device in range(20)] == [1] * 20
    assert "node 7 failed: FileNotFoundError: world/000007/items.npy (traceback above)" in text
    assert "second: ValueError: 5 of 6 (traceback above)" in text
    assert text.rstrip().endswith("a line of its own")
