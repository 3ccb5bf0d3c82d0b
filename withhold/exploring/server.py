"""The page's server: requests and responses."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from withhold.errors import UsageError, WithholdError
from withhold.exploring import asked, exchange
from withhold.exploring.guard import Guard
from withhold.exploring.session import Session
from withhold.exploring.shown import SIDES
from withhold.page import rendered, stylesheet

STATIC = Path(__file__).with_name("static")
SCRIPTS = {path.name: path for path in STATIC.glob("*.js")}


class Server(uvicorn.Server):
    """Serves a session's guarded application; on shutdown, it closes event streams first, which would block it."""

    def __init__(self, app: Guard, session: Session):
        # Messages go to the handlers that are there; setting up others could be interrupted by SIGTERM.
        config = uvicorn.Config(app, log_config=None, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        super().__init__(config)
        self.session = session

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.session.closing = True
        await super().shutdown(sockets)


def application(session: Session) -> Starlette:
    """The application of a page, without access control: see `guard.Guard`."""
    page = rendered(STATIC / "explore.html.jinja", source=session.source).encode()
    style = (stylesheet() + (STATIC / "explore.css").read_text(encoding="utf-8")).encode()
    count = len(session.samples)

    def number(request: Request) -> int:
        """The item in the path."""
        found = int(request.path_params["number"])
        if found >= count:
            raise UsageError(f"There is no item {found:,}; there are {count:,} items.")
        return found

    def media(request: Request, make: Callable[[int], tuple[bytes, str] | None]) -> Response:
        """What `make` makes of the item in the path. The browser asks again whether it is still the same item."""
        item = number(request)
        tag = f'"{session.samples.stamp}{request.url.path}"'
        headers = {"cache-control": "private, no-cache", "etag": tag, "accept-ranges": "none"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        found = make(item)
        if found is None:
            return Response(status_code=404)
        return Response(found[0], media_type=found[1], headers=headers)

    def picture(request: Request) -> Response:
        size = request.path_params["size"]
        return media(request, lambda item: session.items.picture(item, size) if size in SIDES else None)

    def script(request: Request) -> Response:
        path = SCRIPTS.get(request.path_params["name"])
        return Response(status_code=404) if path is None else Response(path.read_bytes(), media_type="text/javascript")

    def array(request: Request) -> Response:
        found = asked.array(session, request.path_params["name"])
        return (
            Response(status_code=404) if found is None else Response(found.tobytes(), media_type="application/x-array")
        )

    def label(body: dict[str, Any]) -> dict[str, Any]:
        items, labels = _items(body, count), body.get("labels")
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
            raise UsageError("labels must be a list of texts, one for each item.")
        return {"labelled": len(items), "alike": session.label(items, labels)}

    def skip(body: dict[str, Any]) -> None:
        for item in _items(body, count):
            session.skip(item)

    def train(body: dict[str, Any]) -> None:
        what, minutes = body.get("what"), body.get("minutes")
        if not isinstance(what, str) or not isinstance(minutes, int | float):
            raise UsageError("what must be the name of a method, and minutes a number.")
        session.train(what, float(minutes))

    def show(body: dict[str, Any]) -> None:
        if not isinstance(name := body.get("run"), str):
            raise UsageError("run must be the name of a run.")
        session.show(name)

    def take(body: dict[str, Any]) -> dict[str, int]:
        if not isinstance(text := body.get("text"), str):
            raise UsageError("text must be a csv table of labels, or Label Studio JSON.")
        return session.take(text)

    def export(request: Request) -> Response:
        studio = request.path_params["form"] == "label-studio.json"
        with session.lock:
            text = exchange.to_studio(session.journal.known(), session.kind) if studio else session.journal.export()
        kind = "application/json" if studio else "text/csv; charset=utf-8"
        name = f'attachment; filename="{request.path_params["form"]}"'
        content = text.encode("utf-8", "backslashreplace")
        return Response(content, media_type=kind, headers={"content-disposition": name})

    def events(request: Request) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            heard = session.listen()
            try:
                yield "retry: 1000\n\n"
                while not session.closing:
                    if heard:
                        yield f"data: {json.dumps(heard.popleft())}\n\n"
                    else:
                        await asyncio.sleep(0.05)
            finally:
                session.leave(heard)

        return StreamingResponse(lines(), media_type="text/event-stream")

    gets: dict[str, Callable[[Request], Response]] = {
        "/": lambda request: Response(page, media_type="text/html; charset=utf-8"),
        "/favicon.ico": lambda request: Response(status_code=204),
        "/explore.css": lambda request: Response(style, media_type="text/css; charset=utf-8"),
        "/script/{name}": script, "/array/{name}": array, "/events": events,
        "/picture/{number:int}/{size}": picture,
        "/film/{number:int}": lambda request: media(request, session.items.film),
        "/export/{form}": export,
        "/state": lambda request: JSONResponse(asked.state(session)),
        "/item/{number:int}": lambda request: JSONResponse(asked.item(session, number(request))),
        "/search": lambda request: JSONResponse(asked.search(session, request.query_params.get("words", ""))),
        "/queue": lambda request: JSONResponse(asked.queue(session, request.query_params.get("strategy", ""))),
        "/errors": lambda request: JSONResponse(asked.errors(session)),
    }  # fmt: skip
    posts: dict[str, Callable[[dict[str, Any]], Any]] = {
        "/list": lambda body: asked.listed(session, _items(body, count)),
        "/label": label, "/skip": skip, "/train": train, "/stop": lambda body: session.stop(),
        "/show": show, "/take": take, "/folders": lambda body: asked.folders(session),
    }  # fmt: skip
    routes = [Route(path, get, methods=["GET"]) for path, get in gets.items()]
    routes += [Route(path, _posted(post), methods=["POST"]) for path, post in posts.items()]
    return Starlette(routes=routes, exception_handlers={WithholdError: _refused})


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _posted(post: Callable[[dict[str, Any]], Any]) -> Callable:
    """A handler that takes a JSON object and returns JSON."""

    async def answer(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise UsageError("The request must be a JSON object.")
        return JSONResponse(await run_in_threadpool(post, body))

    return answer


def _items(body: dict[str, Any], count: int) -> list[int]:
    """The numbers of the items in a request."""
    found = body.get("items")
    if not isinstance(found, list) or not all(type(one) is int and 0 <= one < count for one in found):
        raise UsageError(f"items must be a list of whole numbers from 0 to {count - 1:,}.")
    return found
