"""A run that was killed and goes on decodes each needed variant once, in both together."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from tests.conftest import ROOT, User
from tests.core.genetics.decoding import Noting, decoded, score

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture
def synthetic(user: User) -> Path:
    """A panel of several ranges, and scores without rows that need several variants, which are read once more."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    make_panel(user.folder / "panel", variants=1_500, people=12)
    make_scores(user.folder / "all", user.folder / "panel")
    (user.folder / "scores").mkdir()
    for file in sorted((user.folder / "all").iterdir())[:6]:
        shutil.copy(file, user.folder / "scores")
    return user.folder


def killed(folder: Path, noted: Path, *, before: int) -> None:
    """Score in another process, which is killed before this range."""
    words = [folder / "panel", folder / "scores", folder / "out", noted, before]
    command = [sys.executable, "-m", "tests.core.genetics.decoding", *map(str, words)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


def test_what_a_killed_run_decoded_is_not_decoded_again(synthetic: Path) -> None:
    """Red on: core/genetics/reference.py: `parts = reference.ranges[begun:]` -> `parts = reference.ranges`."""
    whole, both = synthetic / "whole", synthetic / "both"
    score(synthetic / "panel", synthetic / "scores", synthetic / "expected", Noting(noted=whole), use_cache=False)
    shutil.rmtree(synthetic / "home" / "store")
    every = decoded(whole)
    assert len(every) > 3
    assert sum(n for _, n in every[:2]) > 0
    killed(synthetic, both, before=2)
    assert decoded(both) == every[:2]
    score(synthetic / "panel", synthetic / "scores", synthetic / "out", Noting(noted=both))
    assert decoded(both) == every
    for name in TABLES:
        assert (synthetic / "out" / name).read_bytes() == (synthetic / "expected" / name).read_bytes()
