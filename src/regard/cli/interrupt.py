"""Signals: finish the step, save, then leave; the second Ctrl-C leaves at once."""

import signal
from types import FrameType, TracebackType

# What a process that a signal ended would have returned; SIGUSR1 is what batch systems send before they kill.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGUSR1"):
    EXIT_CODES[signal.SIGUSR1] = 143
if hasattr(signal, "SIGHUP"):
    EXIT_CODES[signal.SIGHUP] = 129


class Interrupt:
    """Within this context a signal only sets a flag, which the training loop asks for between two steps.

    As long as `gentle` is False, that is before there is anything to save, a signal ends the program at once.
    Signals that were ignored when the program started (`nohup`) stay ignored.
    """

    def __init__(self) -> None:
        self.gentle = False
        self.received: int | None = None
        self._before: dict[int, object] = {}

    def is_requested(self) -> bool:
        """Whether somebody asked the program to stop."""
        return self.received is not None

    @property
    def exit_code(self) -> int:
        """The exit code that belongs to the signal; 0 if there was none."""
        return EXIT_CODES[signal.Signals(self.received)] if self.received is not None else 0

    def __enter__(self) -> "Interrupt":
        for number in EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        impatient = number == signal.SIGINT and self.received == signal.SIGINT
        if impatient or (number == signal.SIGINT and not self.gentle):
            raise KeyboardInterrupt
        if not self.gentle:
            raise SystemExit(EXIT_CODES[signal.Signals(number)])
        self.received = number
