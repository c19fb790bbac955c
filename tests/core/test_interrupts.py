"""An interrupt that Python swallows still ends the run."""

import os
import signal

import pytest

from core import interrupts


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_was_swallowed_is_raised_by_the_next_check() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts.remembered():
        interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            press()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    interrupts.check()  # a new run begins with nothing pressed
    assert signal.getsignal(signal.SIGINT) is before
