"""Whole runs that are killed, fill the disk, meet each other, or find damaged caches: never a wrong number."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.provenance import manifest
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from sluiceway.core.runs.summary import Summary
from tests.conftest import ROOT, Missing, User

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet", "matches.parquet")
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
KINDS = ("PGS900020", "PGS900025")
COMMAND = str(Path(sys.executable).with_name("sluiceway"))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panel of several ranges, and two scores: one with interactions, one on every kind of chromosome."""
    folder = tmp_path_factory.mktemp("synthetic")
    make_panel(folder / "panel", variants=1_500, people=12)
    make_scores(folder / "all", folder / "panel")
    (folder / "scores").mkdir()
    for file in (folder / "all").iterdir():
        if file.name.startswith(KINDS):
            shutil.copy(file, folder / "scores")
    return folder


def score(user: User, synthetic: Path, own: Path) -> Summary:
    user.export("SLUICEWAY_HOME", str(own / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(own / "cache"))
    asked = Asked(panel=synthetic / "panel", scores=(synthetic / "scores",), out=own / "out", match_log=True)
    return ReferenceScoring(asked, clock=SystemClock()).run()


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def program(name: str, *words: object, inside: list[str] | None = None) -> str:
    command = [*(inside or []), sys.executable, "-m", f"tests.core.runs.{name}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_whole(out: Path) -> None:
    """Every file that has its name is whole, and a manifest stands beside what it names."""
    for table in out.glob("[!.]*.parquet"):
        assert pl.read_parquet(table).width
    if (out / "manifest.json").exists():
        sealed = manifest.read(out / "manifest.json")
        assert all(digest_of_file(out / each.name) == each.digest for each in sealed.outputs or ())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_killed_at_any_step_leaves_nothing_half_written_and_the_next_one_is_right(
    user: User, synthetic: Path, tmp_path: Path
) -> None:
    """Red on: core/runs/results_folder.py: `for left in self.folder.glob(f".{name}*"):` -> `for left in ():`."""
    score(user, synthetic, tmp_path / "expected")
    expected = contents(tmp_path / "expected" / "out")
    steps = program("killed_scoring", synthetic / "panel", synthetic / "scores", tmp_path / "killed").split("\n")[:-1]
    assert {"prepare", "plan", "stage", "score_part", "keep", "log_matches", "lay_out", "seal", "write"} <= set(steps)
    assert steps.count("score_part") > 2
    for number, step in enumerate(steps):
        own = tmp_path / "killed" / str(number)
        require_whole(own / "out")
        score(user, synthetic, own)
        assert contents(own / "out") == expected, step
        require_whole(own / "out")
        assert list((own / "out").glob(".*")) == [], step
        for kept in ("cache/scratch", "cache/panels/making", "cache/totals", "cache/scores/incoming"):
            assert list((own / kept).glob("*")) == [], (step, kept)
        assert not list(own.rglob("quarantine")), step


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_full_disk_ends_a_run_with_one_clear_error_and_the_next_one_is_right(
    user: User, synthetic: Path, tmp_path: Path, missing: Missing
) -> None:
    """Red on: core/store/durable.py: `if number in _STORAGE or` -> `if False or`."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        missing.part("small disks", why="this machine gives no namespaces", get="root, or user namespaces")
    score(user, synthetic, tmp_path / "expected")
    expected = {name: each.hex() for name, each in contents(tmp_path / "expected" / "out").items()}
    used = sum(each.stat().st_size for each in (tmp_path / "expected").rglob("*") if each.is_file())
    ended = []
    for tenths in range(1, 10):
        (tmp_path / str(tenths)).mkdir()
        words = (synthetic / "panel", synthetic / "scores", tmp_path / str(tenths), used * tenths // 10)
        told = json.loads(program("full_disk", *words, inside=NAMESPACE))
        assert told["first"] == "done" or "Nothing half-written was left. Make room" in told["first"]
        assert (told["half"], told["second"], told["left"]) == ([], "done", [])
        assert told["tables"] == expected
        ended.append(told["first"].partition(" '")[0])
    assert len(set(ended)) > 2, ended


DAMAGED = [
    "cache/panels/*/key.npy", "cache/panels/*/frequency.npy", "cache/panels/*/names.parquet",
    "cache/panels/*/table.json", "cache/scores/*/*/payload", "cache/scores/*/*/record.json",
    "home/store/*/*/payload", "home/store/*/*/record.json",
]  # fmt: skip


@pytest.mark.parametrize("how", ["a bit", "cut", "gone"])
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_cache_is_made_again(user: User, synthetic: Path, tmp_path: Path, what: str, how: str) -> None:
    """Red on: core/genetics/variants.py: `digest_of_file(folder / name) != digest` -> `False`."""
    score(user, synthetic, tmp_path)
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    for file in tmp_path.glob(what):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content[: len(content) // 2] if how == "cut" else content)
        if how == "gone":
            file.unlink()
    if not what.startswith("home/"):
        shutil.rmtree(tmp_path / "home")
    assert score(user, synthetic, tmp_path).n_cached == 0
    assert contents(tmp_path / "out") == expected


def start(synthetic: Path, own: Path, out: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "SLUICEWAY_HOME": str(own / "home"), "SLUICEWAY_CACHE_DIR": str(own / "cache")}
    words = ["score", "--panel", synthetic / "panel", "--scores", synthetic / "scores", "--out", out, "--match-log"]
    command = [COMMAND, *map(str, words)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_runs_into_one_folder_one_is_refused_or_waits_for_nobody(
    user: User, synthetic: Path, tmp_path: Path
) -> None:
    """Red on: core/store/lock.py: `fcntl.LOCK_EX | fcntl.LOCK_NB` -> `fcntl.LOCK_SH | fcntl.LOCK_NB`."""
    score(user, synthetic, tmp_path / "expected")
    both = [start(synthetic, tmp_path, tmp_path / "out") for _ in range(2)]
    said = [each.communicate(timeout=100)[1] for each in both]
    assert sorted(each.returncode for each in both) == [0, 2], said
    (refused,) = (text for each, text in zip(both, said, strict=True) if each.returncode)
    assert "is being written by process" in refused
    assert contents(tmp_path / "out") == contents(tmp_path / "expected" / "out")


def test_two_runs_of_the_same_work_into_two_folders_share_their_caches(
    user: User, synthetic: Path, tmp_path: Path
) -> None:
    score(user, synthetic, tmp_path / "expected")
    both = [start(synthetic, tmp_path, tmp_path / name) for name in ("one", "two")]
    said = [each.communicate(timeout=100)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    for name in ("one", "two"):
        assert contents(tmp_path / name) == contents(tmp_path / "expected" / "out")
