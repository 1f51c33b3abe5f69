"""What runs leave on a cluster is looked for there: whole, gone, changed, or nobody can say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.remote.shell import Shell
from sluiceway.core.runs import left
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.left import Found, Looked, every_left
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_runs import There

ODD = "two\nlines: No such file or directory.bin"
NAMES = ("plain.bin", "a b'$(id)\".bin", ODD, "-n.bin", "back\\nslash.bin")


@pytest.fixture
def there(tmp_path: Path, line: Line, clock: FastClock) -> There:
    return There(tmp_path, line, clock)


async def looked(there: There, *names: str) -> list[Looked]:
    async def shell_at(place: str) -> Shell:
        assert place == "west"
        return there.line

    return await left.look(every_left(there.runs, names), shell_at=shell_at)


async def made(there: There) -> dict[str, Path]:
    """Leave a file of each name there, and give their places."""
    quoted = " ".join("'" + name.replace("'", "'\\''") + "'" for name in NAMES)
    request = there.request(f'for name in {quoted}; do echo "$name" >"./$name"; done', **declaring(["*.bin:left"]))
    receipt = await there.run(request)
    assert receipt.succeeded, receipt.why
    return {each.name: Path(each.path) for each in receipt.left}


async def test_what_is_there_as_it_was_made_is_ok_whatever_it_is_called(there: There) -> None:
    assert set(await made(there)) == set(NAMES)
    asked = there.line.asked
    assert [each.found for each in await looked(there)] == [Found.OK] * len(NAMES)
    assert there.line.asked == asked + 1


async def test_what_happened_to_a_file_is_told_of_it_alone(there: There) -> None:
    places = await made(there)
    places[ODD].unlink()
    places["-n.bin"].write_text("other")
    places["back\\nslash.bin"].unlink()
    places["back\\nslash.bin"].mkdir()
    # It leads round and round: whether the file is somewhere, nobody can say.
    places["plain.bin"].unlink()
    places["plain.bin"].symlink_to("plain.bin")
    assert {each.file.name: each.found for each in await looked(there)} == {
        ODD: Found.MISSING,
        "-n.bin": Found.DAMAGED,
        "back\\nslash.bin": Found.DAMAGED,
        "plain.bin": Found.UNKNOWN,
        "a b'$(id)\".bin": Found.OK,
    }
    shutil.rmtree(places[ODD].parent)
    assert {each.found for each in await looked(there)} == {Found.MISSING}


async def test_a_line_that_is_cut_makes_it_unknown_and_never_ok(there: There) -> None:
    """Red on: core/runs/left.py: `return replace(asked, found=Found.UNKNOWN, why=why)`
    -> `return replace(asked, found=Found.OK, why=why)`.
    """
    await made(there)
    there.line.cut_before = 1
    assert {(each.found, "cut" in each.why) for each in await looked(there)} == {(Found.UNKNOWN, True)}
    assert {each.found for each in await looked(there)} == {Found.OK}


async def test_a_file_system_that_is_not_mounted_makes_it_unknown(there: There) -> None:
    """Red on: core/runs/left.py: `if [ -d "$base" ]; then` -> `if true; then`."""
    await made(there)
    Path(there.access.base).rename(there.folder / "away")
    assert {(each.found, "is not there" in each.why) for each in await looked(there)} == {(Found.UNKNOWN, True)}


async def test_a_cluster_that_nobody_knows_any_more_makes_it_unknown(there: There) -> None:
    await made(there)

    async def shell_at(place: str) -> Shell:
        raise PlaceUnusable(place=place, reason="nobody knows it")

    assert {each.found for each in await left.look(every_left(there.runs), shell_at=shell_at)} == {Found.UNKNOWN}


async def test_many_files_are_asked_for_in_portions(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left, "_MOST_FILES", 3)
    await made(there)
    asked = there.line.asked
    assert {each.found for each in await looked(there)} == {Found.OK}
    assert there.line.asked == asked + 2


async def test_one_run_alone_is_asked_for(there: There) -> None:
    await made(there)
    other = await there.run(there.request("echo 1 >one.bin", **declaring(["one.bin:left"])))
    assert [each.run_id for each in await looked(there, other.run_id[:8])] == [other.run_id]
    assert len(every_left(there.runs)) == len(NAMES) + 1
