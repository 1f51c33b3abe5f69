"""Logins as values: nothing secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from sluiceway.core.remote.login import Login


@pytest.mark.parametrize(
    ("login", "named"),
    [
        (Login(host="h"), "h"),
        (Login(host="h", user="ada"), "ada@h"),
        (Login(host="h", port=2222), "h:2222"),
    ],
)
def test_a_machine_is_named_by_what_is_known(login: Login, named: str) -> None:
    assert login.machine == named


def test_the_chain_starts_with_the_machine_to_connect_to_first() -> None:
    first, second = Login(host="first"), Login(host="second", via=Login(host="first"))
    assert Login(host="third", via=second).chain == (first, second, Login(host="third", via=second))


def test_neither_text_nor_offer_shows_a_secret() -> None:
    login = Login(host="h", password=SecretStr("hunter2"), passphrase=SecretStr("hunter3"), keys=(Path("/k"),))
    shown = f"{login} {login!r} {login.offered}"
    assert "hunter" not in shown
    assert login.offered == "key /k, password, the ssh agent"


def test_a_login_without_anything_offers_the_default_keys() -> None:
    assert Login(host="h", use_agent=False).offered == "the default keys"
