"""A session of the page on small data, and a client that passes its access check."""

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from withhold.exploring.guard import Guard
from withhold.exploring.server import application
from withhold.exploring.session import Session

WRITE = {"x-withhold": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photos):
    """Sixty photos of two things: names tell nothing, and one is no image."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    folder.mkdir()
    for i in range(60):
        Image.fromarray(photos[i]).save(folder / f"{i:02}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def begun(folder, out, **more):
    """A session over a folder by a fresh small encoder, which nothing runs behind."""
    out.mkdir(exist_ok=True)
    return Session(out, "convnet", str(folder), {"size": 32}, **more)


def client(session, token=True, password=None, address="http://127.0.0.1:8000"):
    """A browser, in a way; with the cookie if it opens the address with the token."""
    guard = Guard(application(session), password)
    found = TestClient(guard, base_url=address)
    found.guard = guard
    if token:
        assert found.get("/", params={"token": guard.token}).status_code == 200
    return found


def truth(session):
    """Which of the two things each item shows."""
    return ["flower" if int(name.split(".")[0]) % 2 else "house" for name in session.samples.names]


def settled(session):
    """The session after its classifier has answered, without a thread."""
    labels, classes = session.journal.labels.copy(), len(session.journal.classes)
    session._answer(session.adviser, labels, classes, session.route)
    return np.asarray(labels)
