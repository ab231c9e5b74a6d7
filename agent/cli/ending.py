"""How a one-shot command ends: in time, with a line for whoever asked, whatever hangs.

A thread of its own waits for the deadline or a signal, prints, and ends the process with `os._exit`: a resolver or a
dead mount that never returns holds neither the event loop's end nor the interpreter's. Signals reach it through a pipe
that the C handler writes to, since Python's own handlers would wait for the main thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NoReturn

UNKNOWN: Final = 3
STDOUT: Final = 1
STDERR: Final = 2
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE: Final = 1.0  # seconds for output that is under way when the time is over


class Ending:
    """The one way out. `say` makes the output of a message that nothing else came to."""

    def __init__(self, seconds: float, say: Callable[[str], str], stream: int = STDOUT) -> None:
        self.seconds, self._say, self._stream = seconds, say, stream
        self._until = time.monotonic() + seconds
        self._known: tuple[str, int, Callable[[], None]] | None = None
        self._printing = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds until the process ends."""
        return max(0.0, self._until - time.monotonic())

    def watch(self) -> None:
        """Begin to wait for the deadline and for signals; unforeseen exceptions end as UNKNOWN, too."""
        heard, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _nothing)
        sys.excepthook = self._broken
        threading.Thread(target=self._wait, args=(heard,), name="nightjar-ending", daemon=True).start()

    def end(self, text: str, code: int, then: Callable[[], None] = lambda: None) -> NoReturn:
        """Print what there is to say, and end the process at once. Of two that want to, the first is heard."""
        if self._printing.acquire(timeout=PATIENCE):
            write(text, self._stream)
            then()
        os._exit(code)

    def keep(self, text: str, code: int, then: Callable[[], None] = lambda: None) -> None:
        """What to end with from now on, should the rest of the work not come to its end."""
        self._known = text, code, then

    def give_up(self, message: str) -> NoReturn:
        """End as UNKNOWN with the reason, or with what is known already."""
        self.end(*(self._known or (self._say(message), UNKNOWN, lambda: None)))

    def _wait(self, heard: int) -> None:
        ready, _, _ = select.select([heard], [], [], self.left)
        if ready:
            self.give_up(f"ended by {signal.Signals(os.read(heard, 1)[0]).name}")
        self.give_up(f"no end within {self.seconds:g} s")

    def _broken(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        self.give_up(f"{kind.__name__}: {error}")


def write(text: str, stream: int = STDOUT) -> None:
    """A text and a line end on a standard stream, in UTF-8 whatever the locale; who does not listen misses it."""
    data = f"{text}\n".encode("utf-8", "replace") if text else b""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(stream, data) :]


def open_standard() -> None:
    """Give a process whose standard streams were closed something in their place: the next socket would become one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _nothing(number: int, frame: object) -> None:
    """The handler of signals that the pipe has told of."""
