"""What is running is told alike by the quick look into a file and by the registry itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway.core.registry import schema
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.home import FILE, identity_of
from sluiceway.core.registry.in_file import KNOWN, running_in_file
from sluiceway.core.registry.record import Finding, record
from sluiceway.core.registry.running import running_in
from sluiceway.core.registry.runs import Attempt, Run, State, attempt_id
from tests.conftest import User


@pytest.fixture
def home(user: User) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "it's a home"))
    return user.folder / "it's a home"


async def known(home: Path) -> None:
    """A home of which one attempt is in each state, and another home's."""
    async with await registry_at(home) as database:
        for name in (identity_of(home), "another"):
            for number, state in enumerate(State):
                folder = f"/out/{state}"
                attempt = Attempt(
                    id=attempt_id(name, folder),
                    key=f"sha256:{number}",
                    home=name,
                    folder=folder,
                    number=1,
                    place="local",
                    state=state,
                )
                run = Run(key=attempt.key, kind="run", what="x")
                await record(database, Finding(run=run, attempt=attempt))


async def test_the_quick_look_tells_what_the_registry_tells(home: Path) -> None:
    await known(home)
    assert running_in_file(home) == running_in(home)
    assert {*(running_in_file(home) or {})} == {"/out/running", "/out/ended"}


def test_the_quick_look_knows_the_newest_tables() -> None:
    assert schema.NEWEST == KNOWN


def test_what_is_odd_is_left_to_the_registry_itself(home: Path, user: User) -> None:
    assert running_in_file(home) is None
    home.mkdir()
    (home / FILE).write_bytes(b"")
    assert running_in_file(home) is None
    (home / FILE).write_bytes(b"no database" * 100)
    assert running_in_file(home) is None
    user.export("SLUICEWAY_REGISTRY", f"sqlite:///{home}/other.sqlite")
    assert running_in_file(home) is None
