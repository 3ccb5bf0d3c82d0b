"""Access control: requests need the printed token or the password, and writes must come from the page itself."""

import contextlib
import secrets
import urllib.parse

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
WRITES = "x-withhold"
"""A header that pages of other origins cannot send."""
LONGEST = 16 * 2**20
"""Largest request in bytes, such as an imported table of labels."""
LOCAL = ("127.0.0.1", "localhost", "[::1]")
YEAR = 365 * 24 * 3600
FORM = """<!doctype html><meta charset="utf-8"><title>withhold</title>
<form method="post" action="/"><label>Password <input name="password" type="password" autofocus></label>
<button>Open</button></form>"""


class Guard:
    """Wraps an application so that it only answers requests with its token or password.

    The token is exchanged for a cookie that scripts cannot read and other sites cannot use. Requests that change
    something also need a custom header. Without a password, only local host names are accepted, which prevents DNS
    rebinding.

    Args:
        app: the application.
        password: the password for access from other machines; None if there is none.
    """

    def __init__(self, app: ASGIApp, password: str | None = None):
        self.app, self.password = app, password
        self.token, self._admitted = secrets.token_urlsafe(32), secrets.token_urlsafe(32)  # the latter is the cookie's

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":  # only HTTP is supported
            request = Request(scope, _bounded(receive))
            await (await self._refusal(request) or self.app)(scope, request.receive, _with_headers(send))

    async def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that is not passed on to the application."""
        host = request.headers.get("host", "")
        if self.password is None and _name(host) not in LOCAL:
            return PlainTextResponse("This page is only available at 127.0.0.1 and localhost.", 400)
        if int(request.headers.get("content-length") or 0) > LONGEST:
            return PlainTextResponse(f"The request is larger than {LONGEST >> 20} MB.", 413)
        # The cookie's name differs for each port, since browsers send cookies to all ports of a host.
        cookie = f"withhold-{(request.scope.get('server') or ('', 0))[1]}"
        if not _same(request.cookies.get(cookie, ""), self._admitted):
            return await self._admit(request, cookie)
        if request.method not in ("GET", "HEAD") and not _own(request, host):
            return PlainTextResponse("Only the page itself can make changes.", 403)
        return None

    async def _admit(self, request: Request, cookie: str) -> Response:
        """Exchange a token or a password for the cookie, or refuse."""
        allowed = _same(request.query_params.get("token", ""), self.token)
        if not allowed and self.password is not None:
            if request.method == "POST" and request.url.path == "/":
                with contextlib.suppress(ClientDisconnect):  # also if the form is too long
                    form = urllib.parse.parse_qs((await request.body()).decode("utf-8", "replace"))
                    allowed = _same(form.get("password", [""])[0], self.password)
            if not allowed:
                return HTMLResponse(FORM + "<p>Wrong password.</p>" * (request.method == "POST"), 401)
        if not allowed:
            return PlainTextResponse("Open the full address that `withhold explore` printed, including its token.", 403)
        value = f"{cookie}={self._admitted}; HttpOnly; SameSite=Strict; Path=/; Max-Age={YEAR}"
        return Response(status_code=303, headers={"location": "/", "set-cookie": value})


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(), secret.encode())


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _own(request: Request, host: str) -> bool:
    """Whether a request comes from the page itself."""
    origin = request.headers.get("origin")
    return (
        WRITES in request.headers
        and (origin is None or urllib.parse.urlsplit(origin).netloc == host)
        and request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    )


def _with_headers(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return answer


def _bounded(receive: Receive) -> Receive:
    """Limit the received body to the largest request, whatever its content-length says."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > LONGEST else message

    return bounded
