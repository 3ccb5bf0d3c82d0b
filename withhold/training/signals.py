"""Ending in order when the system or a person asks for it."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def termination() -> Iterator[threading.Event]:
    """An event that SIGTERM and the first Ctrl-C set, so that the loop saves and ends; a second Ctrl-C ends at once.

    Raises:
        KeyboardInterrupt: at the end, if it was Ctrl-C, so that what was to follow does not.
    """
    asked, interrupted = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield asked
        return

    def ask(signum, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if signum == signal.SIGINT:
            interrupted.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted.is_set():
        raise KeyboardInterrupt
