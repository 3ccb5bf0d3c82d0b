"""Stopping a training cleanly after SIGTERM or Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def termination() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM or the first Ctrl-C sets, so that the loop saves and ends; the second stops at once.

    Raises:
        KeyboardInterrupt, SystemExit: at the end of the context, after Ctrl-C or SIGTERM respectively, so that nothing
            that follows runs; SystemExit has the status of a process that SIGTERM ended.
    """
    asked, interrupted = threading.Event(), threading.Event()

    def ask(signum, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if signum == signal.SIGINT:
            interrupted.set()

    main = threading.current_thread() is threading.main_thread()  # only it may handle signals
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT) if main}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked.is_set():
        raise KeyboardInterrupt if interrupted.is_set() else SystemExit(128 + signal.SIGTERM)
