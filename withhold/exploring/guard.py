"""Access control: requests need the printed token or the password, and writes must come from the page itself."""

import hashlib
import hmac
import http.cookies
import secrets
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable, Callable], Awaitable[None]]

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


class Guard:
    """Wraps an application so that it only answers requests with its token or password.

    The token is exchanged for a cookie that scripts cannot read and other sites cannot use. Requests that change
    something also need a custom header. Without a password, only local host names are accepted, which prevents DNS
    rebinding.

    Args:
        app: the application.
        password: the password for access from other machines; None if there is none.
    """

    def __init__(self, app: App, password: str | None = None):
        self.app, self.password = app, password
        self.token = secrets.token_urlsafe(32)
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":  # only HTTP is supported
            return None
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.password is None and _name(host) not in LOCAL:
            return await _say(send, 400, "This page is only available at 127.0.0.1 and localhost.")
        if int(headers.get("content-length") or 0) > LONGEST:
            return await _say(send, 413, f"The request is larger than {LONGEST >> 20} MB.")
        if not self._has_cookie(scope, headers):
            return await self._admit(scope, headers, receive, send)
        if scope["method"] not in ("GET", "HEAD") and not _own(headers, host):
            return await _say(send, 403, "Only the page itself can make changes.")
        return await self.app(scope, _bounded(receive), _with_headers(send))

    def _cookie(self, scope: Scope) -> str:
        """The name of the cookie, different for each port, since browsers send cookies to all ports of a host."""
        return f"withhold-{(scope.get('server') or ('', 0))[1]}"

    def _has_cookie(self, scope: Scope, headers: dict[str, str]) -> bool:
        try:
            found = http.cookies.SimpleCookie(headers.get("cookie", "")).get(self._cookie(scope))
        except http.cookies.CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._admitted().encode())

    def _admitted(self) -> str:
        """The value of the cookie."""
        return hmac.new(self._secret, self.token.encode(), hashlib.sha256).hexdigest()

    async def _admit(self, scope: Scope, headers: dict[str, str], receive: Callable, send: Callable) -> None:
        """Exchange a token or a password for the cookie, or refuse."""
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        given = query.get("token", [""])[0]
        allowed = hmac.compare_digest(given.encode(), self.token.encode())
        if not allowed and self.password is not None:
            if scope["method"] == "POST" and scope["path"] == "/":
                form = urllib.parse.parse_qs((await _body(_bounded(receive))).decode("utf-8", "replace"))
                typed = form.get("password", [""])[0]
                allowed = hmac.compare_digest(typed.encode(), self.password.encode())
            if not allowed:
                wrong = "<p>Wrong password.</p>" if scope["method"] == "POST" else ""
                return await _say(send, 401, FORM + wrong, "text/html; charset=utf-8")
        if not allowed:
            return await _say(send, 403, "Open the full address that `withhold explore` printed, including its token.")
        cookie = f"{self._cookie(scope)}={self._admitted()}; HttpOnly; SameSite=Strict; Path=/; Max-Age={YEAR}"
        await _say(send, 303, "", more=[(b"location", b"/"), (b"set-cookie", cookie.encode())])


FORM = """<!doctype html><meta charset="utf-8"><title>withhold</title>
<form method="post" action="/"><label>Password <input name="password" type="password" autofocus></label>
<button>Open</button></form>"""


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _own(headers: dict[str, str], host: str) -> bool:
    """Whether a request comes from the page itself."""
    origin = headers.get("origin")
    return (
        WRITES in headers
        and (origin is None or urllib.parse.urlsplit(origin).netloc == host)
        and headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    )


def _with_headers(send: Callable) -> Callable:
    async def answer(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in own]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return answer


def _bounded(receive: Callable) -> Callable:
    """Limit the received body to the largest request, whatever its content-length says."""
    seen = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > LONGEST else message

    return bounded


async def _body(receive: Callable) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _say(
    send: Callable, status: int, text: str, kind: str = "text/plain; charset=utf-8", more: list | None = None
) -> None:
    headers = [(b"content-type", kind.encode()), *(more or [])]
    await _with_headers(send)({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
