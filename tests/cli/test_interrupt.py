"""Signals: a flag while there is something to save, an end before that."""

import os
import signal
import sys

import pytest

from regard.cli.interrupt import Interrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@pytest.fixture(autouse=True)
def _as_started_from_a_terminal():
    """The tests may themselves run under `nohup` or in the background, which ignore some signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_a_signal_is_a_flag_with_an_exit_code(number, code):
    with Interrupt() as interrupt:
        interrupt.gentle = True
        assert not interrupt.is_requested()
        os.kill(os.getpid(), number)
        assert interrupt.is_requested()
        assert interrupt.exit_code == code


def test_the_second_interrupt_ends_at_once():
    with Interrupt() as interrupt:
        interrupt.gentle = True
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.is_requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_before_there_is_something_to_save_a_signal_ends_at_once():
    with Interrupt(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with Interrupt(), pytest.raises(SystemExit) as caught:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.is_requested()
    finally:
        signal.signal(signal.SIGHUP, before)
