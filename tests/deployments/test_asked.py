"""What is asked of `up` leads people to its pages, and programs here to its API."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sluiceway.deployments.up import Asked

HERE = platform.node()


@pytest.mark.parametrize(
    ("host", "pages", "api"),
    [
        ("127.0.0.1", "http://127.0.0.1:4300", "http://127.0.0.1:4300/api"),
        ("0.0.0.0", f"http://{HERE}:4300", "http://127.0.0.1:4300/api"),  # noqa: S104 - what a user may ask for
        ("db.example.org", "http://db.example.org:4300", "http://db.example.org:4300/api"),
    ],
)
def test_a_server_that_listens_everywhere_is_found_by_name_and_from_here_without_one(
    host: str, pages: str, api: str
) -> None:
    asked = Asked(home=Path("/home"), folder=Path("/work"), host=host, port=4300)
    assert (asked.url, asked.api) == (pages, api)


def test_a_password_of_the_database_stands_in_no_text_of_what_was_asked() -> None:
    asked = Asked(home=Path("/home"), folder=Path("/work"), database="postgresql://ada:secret@db/prefect")
    assert "secret" not in f"{asked!r} {asked.serving!r} {asked.serving.daemon()!r}"
