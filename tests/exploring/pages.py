"""Helpers for tests of the page: a browser, a page of photographs, and user actions."""

import contextlib
import csv
import shutil
import threading

import pytest
from PIL import Image

from withhold.exploring import listening
from withhold.exploring.guard import Guard
from withhold.exploring.session import Session

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE = 60_000
"""Milliseconds that a busy machine may take for what the page shows at once."""
ITEMS = 48


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """(address) -> its page, in a browser that has no cookie yet. The test fails where a script fails."""
    contexts, wrong = [], []

    def opened(address):
        contexts.append(browser.new_context(viewport={"width": 1360, "height": 860}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, wrong


def guarded(session):
    """What answers for a session."""
    server = pytest.importorskip("withhold.exploring.server", reason="the extra explore is not installed")
    return Guard(server.application(session))


@contextlib.contextmanager
def serving(guard, session, port=0):
    """Answers at a port while it lasts, as `withhold explore` does; gives the address."""
    from withhold.exploring.server import Server

    with listening("127.0.0.1", port) as listener:
        server = Server(guard, session)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token={guard.token}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def explored(source, folder, run="convnet", **decoding):
    """The address of the page of a source, and its session."""
    folder.mkdir()
    session = Session(folder, run, str(source), decoding)
    session.begin()
    try:
        with serving(guarded(session), session) as address:
            yield address, session
    finally:
        session.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, photos):
    """A folder of photographs, whose sub-folders say what they are."""
    folder = tmp_path_factory.mktemp("explored") / "photos"
    for i, photo in enumerate(photos[:ITEMS]):
        path = folder / ("flower", "temple")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)
    return folder


@pytest.fixture
def session(pictures, tmp_path):
    """The session of the photographs' page; `session.address` is where it is."""
    with explored(pictures, tmp_path / "out", size=32) as (address, session):
        session.address = address
        yield session


def asked(page):
    """The name of the item that the page asks for."""
    return page.inner_text("#stage small")


def truth(name):
    return name.split("/")[0]


def after(page, act, *arguments):
    """Do something, and wait until another item is asked for."""
    before = asked(page)
    act(*arguments)
    page.wait_for_function("name => document.querySelector('#stage small')?.textContent !== name", arg=before)


def name_it(page):
    """Give the item that is asked for its class, by a key, or by the class's name where that is new."""
    classes, name = page.locator("#classes button span").all_inner_texts(), truth(asked(page))
    if name in classes:
        after(page, page.keyboard.press, str(classes.index(name) + 1))
    else:
        new_class(page, name)


def new_class(page, name):
    """Type the name of a class, which for the first one needs no key before it."""
    if page.evaluate("document.activeElement.id") != "class-name":
        page.keyboard.press("n")
    page.keyboard.type(name)
    after(page, page.keyboard.press, "Enter")


def tell(session, count):
    """Give so many items of both classes their labels, without the page; gives which."""
    items = range(0, ITEMS, ITEMS // count)[:count]
    session.label(items, [truth(session.samples.names[item]) for item in items])
    return items


def written(session):
    """The label of each item, as the file has it."""
    with open(session.journal.path, newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def drag(page, *places, shift=False):
    """Draw over the map, from the first of some places (shares of its width and height) through the others."""
    box = page.locator("#marks").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    if shift:
        page.keyboard.down("Shift")
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")


AROUND = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)]


def over(page, session, item):
    """Put the mouse on an item of the map; gives where that is."""
    x, y = session.places[item].tolist()
    box = page.locator("#marks").bounding_box()
    unit = 0.46 * min(box["width"], box["height"])
    place = box["x"] + box["width"] / 2 + x * unit, box["y"] + box["height"] / 2 - y * unit
    page.mouse.move(*place)
    return place
