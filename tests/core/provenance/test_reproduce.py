"""What a script made is made again and compared: the verdict, the first file and byte that differ, what explains it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sluiceway.core.errors import NotReproducible, RunFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.manifest import Input
from sluiceway.core.provenance.reproduce import (
    Likeness,
    Made,
    Outcome,
    Tolerance,
    compare,
    first_difference,
)
from sluiceway.core.provenance.seal import files_in
from sluiceway.core.provenance.tree import Looking, listing
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.remains import lay_out
from sluiceway.core.runs.request import inputs_of
from sluiceway.core.runs.rerun import FOLDER, Reproducer, Reproduction
from sluiceway.core.runs.script_code import script_request
from tests.conftest import User
from tests.core.provenance.sealed import OK, Project
from tests.core.runs.here import Here

PYTHON = "#!/usr/bin/env python3\n"


@pytest.fixture
def here(user: User) -> Here:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return Here(user.folder)


async def made(here: Here, text: str, *outputs: str, **asked: Any) -> Path:
    """Run a script and lay its outputs out; give that folder."""
    script = here.folder / "script.py"
    script.write_text(text)
    request = await script_request(script, shell=LocalShell(), **declaring(outputs), **asked)
    receipt = (await here.run(request)).require_success()
    lay_out(receipt, here.folder / "out")
    return here.folder / "out"


async def again(output: Path) -> Reproduction:
    return await Reproducer(clock=SystemClock()).reproduce(output)


# P15.
async def test_a_deterministic_script_gives_the_same_bytes(here: Here) -> None:
    (here.folder / "in.txt").write_text("input\n")
    (here.folder / "helper.py").write_text("def twice(text):\n    return 2 * text\n")
    text = f"{PYTHON}import helper\nopen('out.txt', 'w').write(helper.twice(open('../inputs/in.txt').read()))\n"
    output = await made(here, text, "out.txt", inputs=inputs_of([here.folder / "in.txt"]))
    found = await again(output)
    assert found.comparison.outcome is Outcome.IDENTICAL
    assert [each.name for each in found.folder.iterdir()] == ["receipt.json"]
    receipt = json.loads((found.folder / "receipt.json").read_text())
    assert (receipt["outcome"], receipt["output"], receipt["place"]) == ("identical", str(output), "local")


async def test_a_script_without_a_seed_is_different_and_the_first_file_and_byte_are_named(here: Here) -> None:
    """Red on: core/provenance/reproduce.py: `if found & {Likeness.MISSING, Likeness.EXTRA, Likeness.OTHER_VALUES}:`
    -> `if found & {Likeness.MISSING, Likeness.EXTRA}:`.
    """
    text = (
        f"{PYTHON}import random\nopen('a.txt', 'w').write('same')\n"
        "open('b.csv', 'w').write('x\\n1\\n' + str(random.random()) + '\\n')\n"
    )
    found = await again(await made(here, text, "a.txt", "b.csv"))
    first = found.comparison.first_difference
    assert found.comparison.outcome is Outcome.DIFFERENT
    assert first is not None
    assert (first.name, first.likeness, first.said[:18]) == ("b.csv", Likeness.OTHER_VALUES, "column 'x', row 2:")
    assert first.first_byte is not None
    assert first.first_byte >= len("x\n1\n0.")
    assert (found.folder / "home").is_dir()


async def test_random_bytes_are_the_same_listing_with_other_bytes(here: Here) -> None:
    found = await again(await made(here, f"{PYTHON}import os\nopen('x', 'wb').write(os.urandom(40))\n", "x"))
    assert found.comparison.outcome is Outcome.SAME_LISTING
    assert not found.comparison.is_reproduced


async def test_a_gzip_file_that_differs_only_in_its_time_is_explained(here: Here) -> None:
    text = (
        f"{PYTHON}import gzip, time\nwith gzip.GzipFile('x.gz', 'wb', mtime=time.time_ns() % 2**31) as file:\n"
        "    file.write(b'x')\n"
    )
    found = await again(await made(here, text, "x.gz"))
    (only,) = found.comparison.files
    assert (only.likeness, only.said) == (Likeness.SAME_CONTENT, "only the time in the gzip header differs")
    assert only.first_byte in range(4, 8)
    assert found.comparison.outcome is Outcome.SAME_LISTING
    assert found.comparison.is_reproduced


async def test_a_script_that_was_edited_since_is_made_again_as_it_was(here: Here) -> None:
    output = await made(here, f"{PYTHON}open('x', 'w').write('first')\n", "x")
    (here.folder / "script.py").write_text("edited")
    assert (await again(output)).comparison.outcome is Outcome.IDENTICAL


async def test_an_input_that_changed_is_named_and_nothing_runs(here: Here) -> None:
    (here.folder / "in.txt").write_text("input\n")
    output = await made(here, f"{PYTHON}open('x', 'w')\n", "x", inputs=inputs_of([here.folder / "in.txt"]))
    (here.folder / "in.txt").write_text("other\n")
    with pytest.raises(NotReproducible, match=r"its input 'in\.txt' is not there any more as it was"):
        await again(output)
    assert not list((here.folder / "home" / FOLDER).glob("*"))


async def test_a_second_run_that_fails_is_said(here: Here) -> None:
    flag = here.folder / "flag"
    text = f"{PYTHON}import pathlib\nopen('x', 'w')\npathlib.Path({str(flag)!r}).touch(exist_ok=False)\n"
    output = await made(here, text, "x")
    with pytest.raises(RunFailed):
        await again(output)


async def test_what_declared_nothing_or_is_of_another_making_is_refused(here: Here) -> None:
    with pytest.raises(NotReproducible, match="declared no outputs"):
        await again(await made(here, f"{PYTHON}pass\n"))
    with pytest.raises(NotReproducible, match="only what"):
        await again(Project(here.folder).seal("other", {"a": "b"}))


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd"])
async def test_a_manifest_from_elsewhere_cannot_name_files_outside_of_the_run(here: Here, name: str) -> None:
    output = await made(here, f"{PYTHON}open('x', 'w')\n", "x")
    place = manifests.path_of(output)
    manifest = manifests.read(place)
    (script, *_) = manifest.inputs or ()
    for role in ("input", "module"):
        inputs = (script, Input(role=role, name=name, digest=script.digest, path=script.path))
        place.write_bytes(manifests.encoded(manifest.model_copy(update={"inputs": inputs})))
        with pytest.raises(NotReproducible, match=r"leads out of|no name of a module"):
            await again(output)


def sealed(folder: Path, files: dict[str, bytes]) -> Made:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    listed = files_in(listing(folder, Looking(plain=True)), folder)
    return Made(manifest=manifests.Manifest(output_id="x", ending=OK, outputs=listed), folder=folder)


def parquet(folder: Path, *values: float) -> bytes:
    pl.DataFrame({"x": values}).write_parquet(folder / "scratch.parquet")
    return (folder / "scratch.parquet").read_bytes()


NEAR, FAR = 1 + 1e-12, 1.001
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], Outcome, Likeness]] = {
    "same": ({"a": b"1"}, {"a": b"1"}, Outcome.IDENTICAL, Likeness.IDENTICAL),
    "near": (
        {"a.csv": f"x,y\n{NEAR},b\n".encode()}, {"a.csv": b"x,y\n1.0,b\n"},
        Outcome.NUMERICALLY_EQUAL, Likeness.NUMERICALLY_EQUAL,
    ),
    "far": ({"a.csv": f"x\n{FAR}\n".encode()}, {"a.csv": b"x\n1.0\n"}, Outcome.DIFFERENT, Likeness.OTHER_VALUES),
    "other text": ({"a.tsv": b"x\ty\n1\ta\n"}, {"a.tsv": b"x\ty\n1\tb\n"}, Outcome.DIFFERENT, Likeness.OTHER_VALUES),
    "other rows": ({"a.csv": b"x\n1\n"}, {"a.csv": b"x\n1\n1\n"}, Outcome.DIFFERENT, Likeness.OTHER_VALUES),
    "missing": ({"a": b"1"}, {}, Outcome.DIFFERENT, Likeness.MISSING),
    "extra": ({}, {"a": b"1"}, Outcome.DIFFERENT, Likeness.EXTRA),
    "no table": ({"a.csv": b"x,y\n1\n2,3,4,5"}, {"a.csv": b"\xff"}, Outcome.SAME_LISTING, Likeness.OTHER_BYTES),
    "packed": (
        {"a.gz": gzip.compress(b"x" * 999, 1, mtime=0)}, {"a.gz": gzip.compress(b"x" * 999, 9, mtime=0)},
        Outcome.SAME_LISTING, Likeness.SAME_CONTENT,
    ),
    "other gzip": (
        {"a.gz": gzip.compress(b"x", mtime=0)}, {"a.gz": gzip.compress(b"y", mtime=0)},
        Outcome.SAME_LISTING, Likeness.OTHER_BYTES,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("one", "two", "outcome", "likeness"), PAIRS.values(), ids=PAIRS)
def test_files_are_compared_by_bytes_then_by_what_they_hold(
    tmp_path: Path, one: dict[str, bytes], two: dict[str, bytes], outcome: Outcome, likeness: Likeness
) -> None:
    found = compare(sealed(tmp_path / "one", one), sealed(tmp_path / "two", two))
    assert (found.outcome, [each.likeness for each in found.files]) == (outcome, [likeness])


@pytest.mark.parametrize(
    ("one", "two", "tolerance", "likeness"),
    [
        (1.0, NEAR, Tolerance(), Likeness.NUMERICALLY_EQUAL),
        (1.0, FAR, Tolerance(relative=0.01), Likeness.NUMERICALLY_EQUAL),
        (1.0, FAR, Tolerance(), Likeness.OTHER_VALUES),
        (float("inf"), 1.0, Tolerance(relative=1), Likeness.OTHER_VALUES),
        (float("inf"), -float("inf"), Tolerance(relative=1), Likeness.OTHER_VALUES),
        (float("nan"), 1.0, Tolerance(relative=1), Likeness.OTHER_VALUES),
    ],
)
def test_numbers_are_compared_within_a_tolerance_that_is_told(
    tmp_path: Path, one: float, two: float, tolerance: Tolerance, likeness: Likeness
) -> None:
    first = sealed(tmp_path / "one", {"x.parquet": parquet(tmp_path, 0.5, one, float("nan"))})
    second = sealed(tmp_path / "two", {"x.parquet": parquet(tmp_path, 0.5, two, float("nan"))})
    found = compare(first, second, tolerance)
    assert [each.likeness for each in found.files] == [likeness]
    assert found.as_json()["tolerance"]["relative"] == tolerance.relative


def test_a_first_output_that_was_changed_since_is_not_compared_with(tmp_path: Path) -> None:
    first, second = sealed(tmp_path / "one", {"a": b"1"}), sealed(tmp_path / "two", {"a": b"2"})
    (tmp_path / "one" / "a").write_bytes(b"2")
    (only,) = compare(first, second).files
    assert (only.likeness, only.first_byte) == (Likeness.OTHER_BYTES, None)
    assert "not there as it was made" in only.said


@pytest.mark.parametrize(
    ("one", "two", "at"),
    [(b"abc", b"abd", 2), (b"ab", b"abc", 2), (b"a" * (1 << 20) + b"b", b"a" * (1 << 20), 1 << 20)],
)
def test_the_first_byte_that_differs_is_counted_from_the_start(tmp_path: Path, one: bytes, two: bytes, at: int) -> None:
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "two").write_bytes(two)
    assert first_difference(tmp_path / "one", tmp_path / "two") == at
