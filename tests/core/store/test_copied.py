"""A home with its store, copied to another place: it verifies there, and its registry is made anew from it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Input, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.registry.artifacts import artifacts_in, inputs_of
from sluiceway.core.registry.database import Database
from sluiceway.core.registry.rebuild import check, rebuild
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.run import Runs
from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.homes import store_here
from sluiceway.core.store.tags import Tags
from tests.conftest import User
from tests.core.runs.here import Here
from tests.core.store.kept import tree


def copy(home: Path, there: Path) -> None:
    subprocess.run(["cp", "-a", home, there], check=True)


async def test_a_copied_home_verifies_and_its_registry_knows_its_artifacts_again(user: User) -> None:
    """Red on: core/registry/rebuild.py: `for each in kept_in(runs.home, runs.clock)` -> `for each in ()`."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    clock, here = SystemClock(), Here(user.folder)
    output, raw = tree(user.folder), f"sha256:{'ab' * 32}"
    manifest = Manifest(output_id="x", ending=Ending(status="ok"), inputs=(Input(role="raw", digest=raw),))
    seal(manifest, output, ledger=ledger_here(clock))
    store = store_here(clock)
    digest = store.put(output).digest
    Tags(store).tag("best", digest)
    shutil.rmtree(output)
    text = "mkdir -p s/1; echo 1 >s/1/w; touch s/1/DONE"
    assert (await here.run(here.request(text, **declaring(["s/*/DONE:marker"])))).succeeded

    there = user.folder / "elsewhere"
    await asyncio.to_thread(copy, user.folder / "home", there)
    shutil.rmtree(user.folder / "home")
    user.export("SLUICEWAY_HOME", str(there))
    (there / "registry.sqlite").unlink(missing_ok=True)
    copied = ArtifactStore(there / "store", clock=clock)
    assert all(copied.verified(each, full=True) for each in copied.every())
    assert Tags(copied).resolve("best").digest == digest
    runs, ledger = Runs(home=there, clock=clock), ledger_here(clock)
    async with await Database.in_file(there / "registry.sqlite") as database:
        await rebuild(database, runs, ledger)
        assert await check(database, runs, ledger) == []
        async with database.reading() as connection:
            (found,) = await artifacts_in(connection, digest=digest, whole=True)
            assert Path(found.place) == copied.require(digest).path
            assert [each.digest for each in await inputs_of(connection, found)] == [raw]
            steps = [each for each in await artifacts_in(connection, whole=True) if each.output_type == "step"]
            assert [each.digest in set(copied.every()) for each in steps] == [True]


async def test_a_registry_is_made_anew_from_a_store_elsewhere_and_only_of_what_is_the_homes(user: User) -> None:
    """Red on: core/runs/references.py: `each not in theirs and` -> `True and`."""
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    user.export("SLUICEWAY_STORE_DIR", str(user.folder / "elsewhere"))
    mine, theirs = (kept_by(user, name) for name in ("mine", "theirs"))
    assert await artifacts_of(user, "mine") == {mine}
    assert await artifacts_of(user, "theirs") == {theirs}
    # Nothing but the store tells what that home has made.
    shutil.rmtree(user.folder / "mine")
    (user.folder / "mine").mkdir()
    assert await artifacts_of(user, "mine") == {mine}


def kept_by(user: User, name: str) -> str:
    """Make something in a home of this name, keep it in the store, and give its digest there."""
    (user.folder / name).mkdir()
    user.export("SLUICEWAY_HOME", str(user.folder / name))
    clock, output = SystemClock(), tree(user.folder)
    (output / "whose.txt").write_text(name)
    seal(Manifest(output_id=name, ending=Ending(status="ok")), output, ledger=ledger_here(clock))
    digest = store_here(clock).put(output).digest
    shutil.rmtree(output)
    return digest


async def artifacts_of(user: User, name: str) -> set[str | None]:
    """Give the digests of what the registry knows in the store, once it was made anew for a home."""
    home, clock = user.folder / name, SystemClock()
    user.export("SLUICEWAY_HOME", str(home))
    (home / "registry.sqlite").unlink(missing_ok=True)
    runs, ledger = Runs(home=home, clock=clock), ledger_here(clock)
    async with await Database.in_file(home / "registry.sqlite") as database:
        await rebuild(database, runs, ledger)
        assert await check(database, runs, ledger) == []
        async with database.reading() as connection:
            return {each.digest for each in await artifacts_in(connection, whole=True)}
