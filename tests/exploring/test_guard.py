"""Requests without the printed address, or from another page, get no data and change nothing."""

import pytest

from tests.exploring.sessions import WRITE, begun, client, folder  # noqa: F401  (a fixture)
from withhold.exploring import guard


@pytest.fixture(scope="module")
def session(folder, tmp_path_factory):  # noqa: F811
    return begun(folder, tmp_path_factory.mktemp("page"))


ASKED = ["/", "/state", "/explore.css", "/script/explore.js", "/array/labels", "/picture/0/small", "/export/labels.csv"]


@pytest.mark.parametrize("path", ASKED)
def test_nothing_is_answered_without_the_token(session, path):
    stranger = client(session, token=False)
    assert stranger.get(path).status_code == 403
    assert stranger.get(path, params={"token": "guess"}).status_code == 403
    assert stranger.get(path, headers={"cookie": "withhold-8000=guess"}).status_code == 403
    assert client(session).get(path).status_code == 200


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(session):
    browser = client(session, token=False)
    answer = browser.get("/", params={"token": browser.guard.token}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and browser.guard.token not in cookie
    beside = f'other={{"a": 1}}; {cookie.split(";")[0]}'  # browsers also send cookies of other ports, with any content
    browser.cookies.clear()
    assert browser.get("/state", headers={"cookie": beside}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", ""]
)
def test_another_host_is_refused_also_with_the_cookie(session, host):
    assert client(session).get("/state", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_this_machine_is_answered(session, host):
    assert client(session).get("/state", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},  # a form of another page could send it
        {**WRITE, "origin": "http://evil.example"},
        {**WRITE, "origin": "null"},
        {**WRITE, "origin": "http://127.0.0.1:8001"},
        {**WRITE, "sec-fetch-site": "cross-site"},
        {**WRITE, "sec-fetch-site": "same-site"},
    ],
)
def test_a_write_of_another_page_changes_nothing(session, headers):
    answer = client(session).post("/label", json={"items": [0], "labels": ["x"]}, headers=headers)
    assert answer.status_code == 403 and not len(session.journal)


def test_a_write_of_the_page_itself_is_taken(session):
    headers = {**WRITE, "origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    browser = client(session)
    assert browser.post("/label", json={"items": [0], "labels": ["x"]}, headers=headers).status_code == 200
    browser.post("/label", json={"items": [0], "labels": [""]}, headers=headers)


@pytest.mark.parametrize("path", ["/", "/state", "/picture/0/small", "/none", "/export/labels.csv"])
def test_every_answer_forbids_scripts_of_others_and_guesses_of_its_kind(session, path):
    headers = client(session).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and "frame-ancestors 'none'" in policy


def test_too_long_a_request_is_refused(session, monkeypatch):
    monkeypatch.setattr(guard, "LONGEST", 1000)
    browser = client(session)
    assert browser.post("/take", content=b"x" * 1001, headers=WRITE).status_code == 413
    stranger = client(session, token=False, password="open sesame")
    assert stranger.post("/", content=iter([b"password="] + [b"x" * 600] * 2)).status_code == 401


def test_a_password_opens_the_page_from_elsewhere_and_nothing_else_does(session):
    browser = client(session, token=False, password="open sesame", address="http://elsewhere:80")
    assert browser.get("/").status_code == 401 and "password" in browser.get("/").text
    assert browser.post("/", data={"password": "guess"}).status_code == 401
    assert browser.get("/state").status_code == 401
    assert browser.post("/label", json={"items": [0], "labels": ["x"]}, headers=WRITE).status_code == 401
    assert browser.post("/", data={"password": "open sesame"}, follow_redirects=False).status_code == 303
    assert browser.get("/state").status_code == 200
    assert not len(session.journal)
