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

from withhold.errors import WithholdError
from withhold.exploring import asked, exchange
from withhold.exploring.guard import Guard
from withhold.exploring.session import Session
from withhold.exploring.shown import SIDES
from withhold.page import rendered, stylesheet

STATIC = Path(__file__).with_name("static")
SCRIPTS = {path.name: path for path in STATIC.glob("*.js")}
CACHED = "private, max-age=86400"


class _Refused(Exception):
    """An invalid request; the text says why."""


class Server(uvicorn.Server):
    """Serves a session's guarded application; on shutdown, it closes event streams first, which would block it."""

    def __init__(self, app: Guard, session: Session):
        super().__init__(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
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
            raise _Refused(f"There is no item {found:,}; there are {count:,} items.")
        return found

    def media(found: tuple[bytes, str] | None) -> Response:
        if found is None:
            return Response(status_code=404)
        return Response(found[0], media_type=found[1], headers={"cache-control": CACHED, "accept-ranges": "none"})

    def picture(request: Request) -> Response:
        size = request.path_params["size"]
        return media(session.items.picture(number(request), size) if size in SIDES else None)

    def script(request: Request) -> Response:
        path = SCRIPTS.get(request.path_params["name"])
        return Response(status_code=404) if path is None else Response(path.read_bytes(), media_type="text/javascript")

    def array(request: Request) -> Response:
        found = asked.array(session, request.path_params["name"])
        return (
            Response(status_code=404) if found is None else Response(found.tobytes(), media_type="application/x-array")
        )

    def listed(request: Request, body: dict[str, Any]) -> Any:
        return asked.listed(session, _items(body, count))

    def label(request: Request, body: dict[str, Any]) -> Any:
        items, labels = _items(body, count), body.get("labels")
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
            raise _Refused("labels must be a list of texts, one for each item.")
        return {"labelled": len(items), "alike": session.label(items, labels)}

    def skip(request: Request, body: dict[str, Any]) -> Any:
        for item in _items(body, count):
            session.skip(item)
        return {}

    def train(request: Request, body: dict[str, Any]) -> Any:
        what, minutes = body.get("what"), body.get("minutes")
        if not isinstance(what, str) or not isinstance(minutes, int | float):
            raise _Refused("what must be the name of a method, and minutes a number.")
        session.train(what, float(minutes))
        return {}

    def stop(request: Request, body: dict[str, Any]) -> Any:
        session.stop()
        return {}

    def show(request: Request, body: dict[str, Any]) -> Any:
        if not isinstance(name := body.get("run"), str):
            raise _Refused("run must be the name of a run.")
        session.show(name)
        return {}

    def take(request: Request, body: dict[str, Any]) -> Any:
        if not isinstance(text := body.get("text"), str):
            raise _Refused("text must be a csv table of labels, or Label Studio JSON.")
        return session.take(text)

    def folders(request: Request, body: dict[str, Any]) -> Any:
        return asked.folders(session)

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
        "/film/{number:int}": lambda request: media(session.items.film(number(request))),
        "/export/{form}": export,
        "/state": lambda request: JSONResponse(asked.state(session)),
        "/item/{number:int}": lambda request: JSONResponse(asked.item(session, number(request))),
        "/search": lambda request: JSONResponse(asked.search(session, request.query_params.get("words", ""))),
        "/queue": lambda request: JSONResponse(asked.queue(session, request.query_params.get("strategy", ""))),
        "/errors": lambda request: JSONResponse(asked.errors(session)),
    }  # fmt: skip
    posts = {
        "/list": listed, "/label": label, "/skip": skip, "/train": train, "/stop": stop, "/show": show, "/take": take,
        "/folders": folders,
    }  # fmt: skip
    routes = [Route(path, _refusing(get), methods=["GET"]) for path, get in gets.items()]
    routes += [Route(path, _posted(post), methods=["POST"]) for path, post in posts.items()]
    return Starlette(routes=routes)


def _refusing(get: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """A handler that answers invalid requests with an error message."""

    def answer(request: Request) -> Response:
        try:
            return get(request)
        except (WithholdError, _Refused) as error:
            return JSONResponse({"error": str(error)}, 400)

    return answer


def _posted(post: Callable[[Request, dict[str, Any]], Any]) -> Callable:
    """A handler that takes a JSON object and returns JSON."""

    async def answer(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return JSONResponse({"error": "The request must be a JSON object."}, 400)
        respond = _refusing(lambda request: JSONResponse(post(request, body)))
        return await run_in_threadpool(respond, request)

    return answer


def _items(body: dict[str, Any], count: int) -> list[int]:
    """The numbers of the items in a request."""
    found = body.get("items")
    if not isinstance(found, list) or not all(type(one) is int and 0 <= one < count for one in found):
        raise _Refused(f"items must be a list of whole numbers from 0 to {count - 1:,}.")
    return found
