"""Ending in order when the system or a person asks for it."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def termination() -> Iterator[threading.Event]:
    """An event that SIGTERM and the first Ctrl-C set, so that the loop saves and ends; a second one ends at once.

    Raises:
        KeyboardInterrupt, SystemExit: at the end, where the event is set, so that what was to follow does not: the one
            after Ctrl-C, the other with the status of a process that SIGTERM ended.
    """
    asked, interrupted = threading.Event(), threading.Event()

    def ask(signum, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if signum == signal.SIGINT:
            interrupted.set()

    main = threading.current_thread() is threading.main_thread()  # to which signals belong
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT) if main}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked.is_set():
        raise KeyboardInterrupt if interrupted.is_set() else SystemExit(128 + signal.SIGTERM)
