"""What sessions and held engines run in stays as long as these may be alive, and goes once they are not."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from subprocess import PIPE
from typing import Any

import pytest

from sluiceway import cli
from sluiceway.core.environments import inventory
from sluiceway.core.environments.activation import Activation
from sluiceway.core.environments.cache import Kept, Uses
from sluiceway.core.environments.entry import Entry
from tests.conftest import User
from tests.core.environments.made import Bench

LONG_AGO = 3 * 86400
OWN = "0123456789abcdef"


@dataclass
class Used:
    """An environment that was shipped, and a session's folder that names it."""

    bench: Bench
    kept: Kept
    place: Path

    async def tidied(self, jobs: frozenset[str] | None = frozenset(), **fields: Any) -> dict[str, Any]:
        base = PurePosixPath(self.bench.folder)
        uses = Uses(runs=base / "runs", others=(base / "sessions", base / "engines"), jobs=jobs)
        return await self.bench.cache().tidy(replace(uses, **fields), older=timedelta(), most_bytes=None)

    def was_silent(self) -> None:
        """Let nothing below its folder have been written or touched for long."""
        when = time.time() - LONG_AGO
        for each in (*self.place.rglob("*"), self.place):
            os.utime(each, (when, when))


@pytest.fixture(params=["sessions", "engines"])
async def used(tmp_path: Path, request: pytest.FixtureRequest) -> Used:
    bench, place = Bench(tmp_path), tmp_path / request.param / OWN
    (tmp_path / "tool").write_text("echo hello\n")
    kept = await bench.cache().provide(bench.wanted(tmp_path / "tool"))
    (place / "environment").mkdir(parents=True)
    inside = Activation(name="mine", identity={}, sealed=(str(kept.seal), "/usr"))
    (place / "environment" / "activation.json").write_bytes(inside.document())
    return Used(bench, kept, place)


async def test_what_a_session_with_a_job_runs_in_stays_however_long_it_was_silent(used: Used) -> None:
    """Red on: core/environments/uses.py: `if jobs is not None and os.path.basename(place) in jobs:` -> `if False:`."""
    used.was_silent()
    told = await used.tidied(frozenset({OWN}))
    assert (told["gone"], list(told["kept"])) == ([], [used.kept.tree.name])
    assert (await used.tidied(frozenset({"another"})))["gone"] == [used.kept.tree.name]


async def test_what_a_session_that_waits_for_its_first_job_runs_in_stays(used: Used) -> None:
    """Red on: core/environments/uses.py: `last_sign(place) < SILENT_SECONDS` -> `last_sign(place) < 0`."""
    assert (await used.tidied())["gone"] == []


async def test_nothing_goes_that_a_session_may_need_while_nobody_knows_the_jobs(used: Used) -> None:
    """Red on: core/environments/uses.py: `return jobs is None or` -> `return`."""
    used.was_silent()
    assert (await used.tidied(None))["gone"] == []


async def test_a_sign_of_life_of_its_allocation_keeps_what_a_session_runs_in(used: Used) -> None:
    used.was_silent()
    (used.place / "s1").mkdir()
    (used.place / "s1" / "alive").touch()
    when = time.time() - LONG_AGO
    os.utime(used.place, (when, when))
    assert (await used.tidied())["gone"] == []


async def test_what_a_session_that_is_over_ran_in_may_go_at_once(used: Used) -> None:
    (used.place / "over").touch()
    assert (await used.tidied())["gone"] == [used.kept.tree.name]


async def test_a_session_that_is_over_and_whose_job_ends_yet_keeps_what_it_runs_in(used: Used) -> None:
    (used.place / "over").touch()
    assert (await used.tidied(frozenset({OWN})))["gone"] == []


async def test_what_is_known_to_be_needed_stays(used: Used) -> None:
    (used.place / "over").touch()
    assert (await used.tidied(needed=frozenset({used.kept.tree.name})))["gone"] == []


async def test_what_is_asked_for_while_old_ones_are_removed_stays(used: Used, tmp_path: Path) -> None:
    """Whoever removes has looked who needs it, and then somebody asks for it.

    Red on: core/environments/inventory.py: `if entry.used() != used:` -> `if False:`.
    """
    when = time.time() - LONG_AGO
    os.utime(used.kept.seal, (when, when))
    seen = Path(used.kept.seal).stat().st_mtime
    assert not (await used.bench.cache().provide(used.bench.wanted(tmp_path / "tool"))).shipped
    entry = Entry(str(used.kept.tree.parent), used.kept.tree.name)
    assert inventory.stays(entry, set(), seen, dry_run=False) == "somebody has just asked for it"
    assert Path(used.kept.tree).exists()


ENTERS = """
import asyncio, sys
from sluiceway.core.environments.entering import words_here
from sluiceway.core.environments.runtime import environment_named, runtime_of
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell

async def main():
    async with words_here(await runtime_of(environment_named("packed")), LocalShell(), SystemClock()):
        print("entered", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def test_what_a_process_on_this_machine_holds_stays_until_it_has_ended_or_was_killed(user: User) -> None:
    """Red on: core/environments/entering.py: `with exclusive(folder, purpose="enter"):` -> `if True:`."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    (user.folder / "home").mkdir()
    table = f'[environments.packed]\nkind = "archive"\narchive = "{user.folder}/packed.tar"\n'
    user.write("home/clusters.toml", table)
    user.write("tool", "#!/bin/sh\n")
    with tarfile.open("packed.tar", "w") as archive:
        archive.add("tool")
    for end in (lambda each: each.stdin.close(), subprocess.Popen.kill):
        child = subprocess.Popen([sys.executable, "-c", ENTERS], stdin=PIPE, stdout=PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"entered\n"
        assert (gc(), gc()) == (4, 4)
        end(child)
        child.wait()
        child.stdout.close()
        assert gc() == 0
        assert [*(user.folder / "cache/environments").glob("*.sealed")] == []


def gc() -> int:
    for each in Path("cache/environments").glob("*.sealed"):
        os.utime(each, (0, 0))
    with pytest.raises(SystemExit) as ended:
        cli.main(["env", "gc"])
    return int(ended.value.code or 0)
