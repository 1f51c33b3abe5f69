"""Runs go by age and number, here and on the cluster, and never one that may be running."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import Unreachable
from sluiceway.core.runs import listing
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.request import inputs_of
from sluiceway.core.runs.run import stage, submit
from sluiceway.core.runs.tidying import Keep, Tidied, remove_at, remove_inputs_at, tidy
from tests.fake_slurm.slurm import FakeSlurm
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_runs import PLACE, There

ALL = Keep(younger_than=timedelta())


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


async def tidied(there: There, keep: Keep, *, dry_run: bool = False) -> Tidied:
    async def remove(place: str, names: list[str]) -> set[str]:
        assert place == "west"
        return await remove_at(there.access, names)

    return await tidy(there.runs, keep, remove=remove, dry_run=dry_run)


def folders(there: There) -> tuple[set[str], set[str]]:
    """The runs here and there, by the beginnings of their names."""
    here = {each.parent.parent.name[:20] for each in Path(there.runs.home, "runs").glob("*/a*/stdout.txt")}
    return here, {each.name[:20] for each in Path(there.access.base, "runs").iterdir()}


async def test_a_run_goes_here_and_there_unless_it_is_young_or_among_the_latest(there: There) -> None:
    first = await there.run(there.request("exit 3"))
    second = await there.run(there.request("true"))
    assert await tidied(there, Keep(younger_than=timedelta(days=1))) == Tidied(gone=(), kept={})
    assert (await tidied(there, ALL, dry_run=True)).gone == (second.run_id, first.run_id)
    assert (await tidied(there, Keep(younger_than=timedelta(), failed=True, latest=1))).gone == ()
    assert (await tidied(there, Keep(younger_than=timedelta(), latest=1))).gone == (first.run_id,)
    assert folders(there) == ({second.run_id}, {second.run_id})
    assert (await tidied(there, ALL)).gone == (second.run_id,)
    assert folders(there) == (set(), set())
    assert listing.every_run(there.runs) == []


async def test_a_run_that_was_removed_is_run_anew_under_another_number(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/runs/tidying.py: `{Path(last.cancelled), Path(last.intent)}` -> `set()`."""
    request = there.request("echo done")
    await there.run(request)
    await tidied(there, ALL)
    receipt = await there.run(request)
    assert (receipt.succeeded, receipt.attempt, len(slurm.jobs)) == (True, 2, 2)
    assert (await tidied(there, ALL)).gone == (receipt.run_id,)


async def test_a_run_whose_end_nobody_has_seen_stays(there: There) -> None:
    """Red on: core/runs/tidying.py: `may_go = each.standing in _OVER and` -> `may_go =`."""
    request = there.request("sleep 30")
    attempt = await stage(request, runs=there.runs, host=there.host(), place=PLACE)
    assert isinstance(attempt, Attempt)
    await submit(attempt, runs=there.runs, host=there.host())
    assert await tidied(there, ALL) == Tidied(gone=(), kept={})
    assert [each.run_id for each in listing.every_run(there.runs)] == [attempt.folder.run.run_id]
    assert folders(there)[1] == {attempt.folder.run.run_id}


async def test_a_run_that_another_home_is_running_there_stays(there: There, slurm: FakeSlurm) -> None:
    """Red on: core/slurm/commands.py: `grep -q "^sw-$start-a" "$t/out" ||` -> `true &&`."""
    request = there.request("sleep 30; exit 3")
    running = asyncio.create_task(there.run(request))
    while not slurm.jobs or slurm.jobs[0]["pid"] is None:
        await asyncio.sleep(0.02)
    receipt = there.runs.folder(request.key)
    slurm.finish(slurm.jobs[0]["number"], "CANCELLED")
    await running
    other = There(there.folder, there.line, there.clock)
    other.access = there.access
    with slurm.store.changed() as state:
        state["jobs"][0].update(state="RUNNING")
    assert list((await tidied(other, ALL)).kept) == [receipt.run_id]
    assert folders(there) == ({receipt.run_id}, {receipt.run_id})


async def test_a_run_stays_here_when_its_cluster_does_not_answer(there: There) -> None:
    """Red on: core/runs/tidying.py: `dict.fromkeys(names, str(error))` -> `{}`."""
    receipt = await there.run(there.request("true"))
    there.line.cut_before = 1
    done = await tidied(there, ALL)
    assert (done.gone, list(done.kept)) == ((), [receipt.run_id])
    assert (await tidied(there, ALL)).gone == (receipt.run_id,)


async def test_inputs_that_are_kept_go_when_no_run_links_to_them_and_nobody_asked_for_them_lately(
    there: There, tmp_path: Path
) -> None:
    """Red on: core/slurm/commands.py: `comm -13 "$t/used" "$t/old"` -> `cat "$t/old"`."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * 200_000)
    inputs = [inputs_of([tmp_path / name]) for name in ("one", "two")]
    digests = [next(iter(each.values())).digest.removeprefix("sha256:") for each in inputs]
    first, second = [await there.run(there.request("true", inputs=each)) for each in inputs]
    assert {each.name for each in there.kept} == set(digests)

    async def gone(days: int) -> list[str]:
        return await remove_inputs_at(there.access, younger_than=timedelta(days=days))

    assert await remove_at(there.access, [first.key.removeprefix("sha256:")]) == set()
    assert await gone(0) == []
    for each in there.kept:
        os.utime(each, (0, 0))
    assert await gone(30) == digests[:1]
    assert await gone(30) == []
    assert [each.name for each in there.kept] == digests[1:]
    assert second.succeeded


async def test_no_input_goes_where_nobody_can_say_what_is_needed(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red on: core/slurm/commands.py: `>"$t/links" || exit 74` -> `>"$t/links"`."""
    (tmp_path / "one").write_bytes(b"one" * 200_000)
    await there.run(there.request("true", inputs=inputs_of([tmp_path / "one"])))
    os.utime(there.kept[0], (0, 0))
    programs = tmp_path / "broken"
    programs.mkdir()
    (programs / "find").write_text(f'#!/bin/sh\ncase "$1" in /*) exit 1;; esac\nexec {shutil.which("find")} "$@"\n')
    (programs / "find").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(Unreachable):
        await remove_inputs_at(there.access, younger_than=timedelta())
    assert len(there.kept) == 1
