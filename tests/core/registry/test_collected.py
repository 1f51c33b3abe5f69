"""The registry follows garbage collection: what was collected is forgotten, and what came back is known again."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluiceway.cli import app
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Input, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.registry.artifacts import artifacts_in
from sluiceway.core.registry.database import registry_at
from sluiceway.core.registry.rebuild import check
from sluiceway.core.registry.runs import runs_in
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.hosts import runs_here
from tests.conftest import User
from tests.core.store.kept import tree


@pytest.fixture
def home(user: User, url: str) -> Path:
    user.export("SLUICEWAY_REGISTRY", url)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return user.folder / "home"


def done(*words: str) -> str:
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    return answer.stdout.strip()


def kept(folder: Path, name: str) -> str:
    """Seal an output, keep it as an artifact, and remove it."""
    output = tree(folder, name, name)
    read = Input(role="raw", digest=f"sha256:{'0' * 64}")
    seal(
        Manifest(output_id=name, ending=Ending(status="ok"), inputs=(read,)), output, ledger=ledger_here(SystemClock())
    )
    digest = done("artifacts", "keep", str(output))
    shutil.rmtree(output)
    return digest


def known(home: Path) -> tuple[set[str | None], int, list[str]]:
    """The digests of the artifacts that the registry knows, how many runs, and where it differs from the files."""

    async def asked() -> tuple[set[str | None], int, list[str]]:
        async with await registry_at(home) as database:
            async with database.reading() as connection:
                whole, runs = await artifacts_in(connection, whole=True), await runs_in(connection)
            differences = await check(database, runs_here(), ledger_here(SystemClock()))
        return {each.digest for each in whole}, len(runs), [str(each) for each in differences]

    return asyncio.run(asked())


def test_what_was_collected_is_forgotten_and_what_came_back_is_known(home: Path, user: User) -> None:
    """Red on: core/registry/collected.py: `await _forget(connection, gone)` -> `pass`."""
    named, other = kept(user.folder, "named"), kept(user.folder, "other")
    done("artifacts", "tag", named, "best")
    assert known(home) == ({named, other}, 2, [])
    done("gc", "--grace", "0d")
    assert known(home) == ({named, other}, 2, [])
    done("gc", "--grace", "0d", "--do")
    assert known(home) == ({named}, 1, [])
    done("gc", "--restore", other)
    assert known(home) == ({named, other}, 2, [])


def test_what_somebody_collected_who_was_killed_then_is_forgotten_by_the_next(home: Path, user: User) -> None:
    digest = kept(user.folder, "x")
    store = home / "store" / "artifacts"
    (store / digest[7:9] / digest[7:]).rename(store / "gone")
    (store / "gone").rename(user.folder / "gone")
    assert len(known(home)[2]) > 0
    done("gc", "--do")
    assert known(home) == (set(), 0, [])
