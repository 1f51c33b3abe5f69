"""What is over and old goes from the folder of environments and from beside it; what somebody is at work on stays."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.environments import inventory
from sluiceway.core.environments.cache import Packed, Uses
from sluiceway.core.environments.entry import Entry
from sluiceway.core.environments.workshop import Workshop
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.local import LocalShell
from sluiceway.tasks import jobqueue_side
from tests.clocks import SteppedClock
from tests.core.environments.made import Bench

DAY = timedelta(days=1)
KEY, TOKEN, OTHER = "ab" * 16, "0123456789abcdef", "cd" * 16
UNPACKS = """#!/bin/sh
mkdir -p "$2/bin" && echo one >"$2/bin/one" && touch -d @0 "$2"
echo >{folder}/held
until [ -e {folder}/go ]; do sleep 0.05; done
echo two >"$2/bin/two" && touch -d @0 "$2"
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "environments" / "incoming").mkdir(parents=True)
    return Bench(tmp_path)


def tidied(bench: Bench, *, older: timedelta = timedelta(), **fields: Any) -> dict[str, Any]:
    """Say what would go, see that it is all there yet, and remove it."""
    wish = Uses(runs=PurePosixPath(bench.folder / "runs"), **fields).as_json()
    wish |= {"folder": str(bench.folder / "environments"), "older_seconds": older.total_seconds(), "most_bytes": None}
    before = sorted(bench.folder.rglob("*"))
    would = inventory.gc({**wish, "dry_run": True})
    assert set(before) <= set(bench.folder.rglob("*"))
    told = inventory.gc({**wish, "dry_run": False})
    assert told == would
    return told


def aged(*places: Path, days: float = 3) -> None:
    when = time.time() - days * 86400
    for each in places:
        os.utime(each, (when, when), follow_symlinks=False)


def everything_aged(folder: Path) -> None:
    aged(*folder.rglob("*"), folder)


async def test_what_is_being_unpacked_stays_however_old_it_looks(bench: Bench, tmp_path: Path) -> None:
    """A tree has the times of its archive; here it is held up between its first file and the move.

    Red on: core/environments/inventory.py: `if not is_mine or entry.is_claimed(since=silent):` -> `if False:`.
    """
    program = tmp_path / "program"
    program.write_text(UNPACKS.format(folder=tmp_path))

    async def pack(_has_zstd: bool) -> Packed:
        return Packed(path=program, digest=digest_of_file(program), form="program", unpacked=100)

    shipping = asyncio.create_task(bench.cache().provide(replace(bench.wanted(program), pack=pack)))
    async with asyncio.timeout(60):
        while not (tmp_path / "held").exists():
            await asyncio.sleep(0.02)
    aged(*(tmp_path / "environments" / "incoming").iterdir())
    swept = tidied(bench)["swept"]
    (tmp_path / "go").touch()
    kept = await shipping
    assert sorted(each.name for each in (Path(kept.tree) / "bin").iterdir()) == ["one", "two"]
    assert swept == []


@pytest.mark.parametrize(
    ("lies", "claimed", "goes"),
    [
        (f"incoming/{TOKEN}", "now", False),
        (f"incoming/.{TOKEN}.x1", "now", False),
        (f"incoming/{TOKEN}", "long ago", True),
        (f"incoming/.{TOKEN}.x1", "long ago", True),
        (f"incoming/{TOKEN}", "never", True),
        (f".{KEY}.{TOKEN}/bin/tool", "now", False),
        (f".{KEY}.{TOKEN}/bin/tool", "long ago", True),
        (f"{KEY}/bin/tool", "now", False),
        (f"{KEY}/bin/tool", "long ago", True),
        (f"{KEY}/bin/tool", "never", True),
        (f"{KEY}.sealed.712", "never", True),
        (f"{KEY}.sif", "never", True),
        (f"{KEY}.sif.712", "never", True),
        (f".{KEY}.sif.1000.lock", "never", True),
        (f"damaged/{KEY}-1790000000/why.txt", "never", True),
        (f"{KEY}.lock", "never", False),
    ],
)
def test_what_nobody_will_finish_goes_once_it_is_old(bench: Bench, lies: str, claimed: str, goes: bool) -> None:
    """Red on: core/environments/inventory.py: `entry.is_claimed(since=silent)` -> `False`."""
    folder = bench.folder / "environments"
    place = folder / lies
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("x")
    claim = folder / f"{KEY}.claim"
    if claimed != "never":
        claim.write_text(json.dumps({"token": TOKEN, "by": "somebody"}))
    assert tidied(bench, older=DAY)["swept"] == []
    everything_aged(folder)
    if claimed == "now":
        os.utime(claim)
    swept = tidied(bench, older=DAY)["swept"]
    assert place.exists() != goes
    assert claim.exists() == (claimed == "now")
    assert bool(swept) == (goes or claimed == "long ago")


async def test_what_belongs_to_a_whole_environment_stays_and_goes_with_it(bench: Bench, tmp_path: Path) -> None:
    """Apptainer's image is made beside the tree, and takes room as well."""
    (tmp_path / "tool").write_bytes(b"12345")
    kept = await bench.cache().provide(bench.wanted(tmp_path / "tool", key=KEY))
    folder = tmp_path / "environments"
    (folder / f"{KEY}.sif").write_bytes(bytes(1000))
    (folder / f".{KEY}.sif.1000.lock").touch()
    (folder / f".{KEY}.{TOKEN}").mkdir()
    everything_aged(folder)
    os.utime(kept.seal)
    told = tidied(bench, older=DAY)
    assert (told["gone"], told["swept"], told["bytes"]) == ([], [f"environments/.{KEY}.{TOKEN}"], 1005)
    aged(Path(kept.seal))
    assert tidied(bench, older=DAY)["gone"] == [KEY]
    assert [each.name for each in folder.iterdir() if each.is_file()] == [f"{KEY}.lock"]


async def test_an_image_goes_aside_with_the_damaged_tree_that_it_was_made_of(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"12345")
    kept = await bench.cache().provide(bench.wanted(tmp_path / "tool", key=KEY))
    Path(f"{kept.tree}.sif").touch()
    Path(kept.tree).chmod(0o755)
    (Path(kept.tree) / "tool").unlink()
    assert (await bench.cache().provide(bench.wanted(tmp_path / "tool", key=KEY))).shipped
    (aside,) = (tmp_path / "environments" / "damaged").iterdir()
    assert {each.name for each in aside.iterdir()} == {KEY, f"{KEY}.sealed", f"{KEY}.sif", "why.txt"}


@pytest.mark.parametrize(("days", "standing"), [(0, "being made"), (0.5, "left half-made")])
async def test_one_whose_maker_has_gone_silent_is_listed_as_such(bench: Bench, days: float, standing: str) -> None:
    (bench.folder / "environments" / KEY).mkdir()
    claim = bench.folder / "environments" / f"{KEY}.claim"
    claim.write_text("{}")
    aged(claim, days=days)
    assert [each["standing"] for each in await bench.cache().entries()] == [standing]


def test_one_that_somebody_else_removes_meanwhile_is_no_error(bench: Bench) -> None:
    entry = Entry(str(bench.folder / "environments"), KEY)
    assert inventory.stays(entry, set(), 1.0, dry_run=False) == "somebody has just asked for it"


JOBS: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("kind", "days", "jobs", "beside", "goes"),
    [
        ("sessions", 3, JOBS, "", True),
        ("sessions", 3, frozenset({TOKEN}), "", False),
        ("sessions", 3, None, "", False),
        ("sessions", 0.5, JOBS, "", False),
        ("sessions", 0.5, JOBS, f"sessions/{TOKEN}/over", True),
        ("engines", 0.5, frozenset({TOKEN}), f"engines/{TOKEN}/over", False),
        ("engines", 0.5, None, f"engines/{TOKEN}/over", False),
        ("engines", 0.1, JOBS, f"engines/{TOKEN}/over", False),
        ("entered", 3, JOBS, "", True),
        ("entered", 3, None, f"entered/{TOKEN}/.lock", True),
        ("dask", 3, JOBS, "", True),
        ("dask", 0.5, JOBS, "", False),
        ("dask-batches", 3, JOBS, "", True),
        ("dask-batches", 3, None, "", False),
        ("dask-batches", 3, JOBS, f"dask/{OTHER}/over", True),
    ],
)
def test_folders_of_sessions_engines_and_workers_go_once_they_are_over_and_old(
    bench: Bench, kind: str, days: float, jobs: frozenset[str] | None, beside: str, goes: bool
) -> None:
    """They are old here after six hours.

    Red on: core/environments/uses.py: `if jobs is None and not os.path.exists(os.path.join(place, _LOCK)):` -> `if
    False:`.
    """
    place = bench.folder / kind / TOKEN
    place.mkdir(parents=True)
    (place / "stderr.txt").touch()
    if beside:
        (bench.folder / beside).parent.mkdir(parents=True, exist_ok=True)
        (bench.folder / beside).touch()
    aged(*(bench.folder / kind).rglob("*"), days=days)
    others = tuple(PurePosixPath(bench.folder / each) for each in ("sessions", "engines", "entered", "dask-batches"))
    others += (PurePosixPath(bench.folder / "dask"),)
    told = tidied(bench, older=DAY / 4, others=others, jobs=jobs)
    assert told["swept"] == ([f"{kind}/{TOKEN}"] if goes else [])
    assert place.exists() != goes


def test_a_batch_stays_as_long_as_a_scheduler_may_have_workers_that_read_it(bench: Bench) -> None:
    """Red on: core/environments/uses.py: `return kind != BATCHES or not` -> `return True or not`."""
    for each in (f"dask-batches/{TOKEN}", f"dask/{OTHER}"):
        (bench.folder / each).mkdir(parents=True)
    aged(bench.folder / "dask-batches" / TOKEN)
    others = tuple(PurePosixPath(bench.folder / each) for each in ("dask", "dask-batches"))
    assert tidied(bench, others=others, jobs=JOBS)["swept"] == []
    aged(bench.folder / "dask" / OTHER)
    assert tidied(bench, others=others, jobs=JOBS)["swept"] == [f"dask-batches/{TOKEN}", f"dask/{OTHER}"]


def test_a_scheduler_of_workers_that_are_jobs_says_that_it_lives(tmp_path: Path) -> None:
    """Red on: tasks/jobqueue_side.py: `os.utime(os.path.dirname(over))` -> `pass`."""
    aged(tmp_path)
    program = f"import jobqueue_side as it; it._SIGN_SECONDS = 0; it._wait({str(tmp_path / 'over')!r})"
    place = Path(jobqueue_side.__file__).parent
    child = subprocess.Popen([sys.executable, "-c", program], cwd=place, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.time() - tmp_path.stat().st_mtime > 86400:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        (tmp_path / "over").touch()
        assert child.wait(60) == 0


async def test_what_was_built_here_goes_when_it_was_not_used_for_long_and_for_a_day_at_least(tmp_path: Path) -> None:
    built: list[str] = []

    async def build(folder: Path) -> Packed:
        built.append(folder.name)
        (folder / "archive").write_text("x")
        return Packed(path=folder / "archive", digest=digest_of_file(folder / "archive"), form="tar", unpacked=1)

    workshop = Workshop(folder=tmp_path / "built", shell=LocalShell(), clock=SteppedClock(datetime.now(UTC)))
    for key in ("old", "used"):
        await workshop.packed(key, build=build)
        everything_aged(tmp_path / "built" / key)
    (tmp_path / "built" / "killed").mkdir()
    aged(tmp_path / "built" / "killed")
    await workshop.packed("used", build=build)
    assert await workshop.tidy(older=timedelta(), dry_run=True) == ["killed", "old"]
    assert (tmp_path / "built" / "old" / "archive").exists()
    assert await workshop.tidy(older=5 * DAY) == []
    assert await workshop.tidy(older=timedelta()) == ["killed", "old"]
    assert [each.name for each in (tmp_path / "built").iterdir()] == ["used"]
    assert built == ["old", "used"]
