"""Fixtures of the page in a browser."""

from tests.exploring.pages import browser, pictures, session, visit  # noqa: F401
