"""A benchmark so small that it takes seconds."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from benchmarks.scoring.data import ensure
from benchmarks.scoring.layout import Size, Work

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Missing

SIZE = Size(scale=0.002, scores=6)


@pytest.fixture(scope="session")
def work(missing: Missing, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Give a folder with a generated panel and scores; plink2 writes its tables of variants."""
    if shutil.which("plink2") is None:
        missing.part("plink2", why="there is no plink2", get="apt-get install plink2")
    return generated(tmp_path_factory.mktemp("benchmark"))


def generated(folder: Path, size: Size = SIZE) -> Work:
    ensure(Work(folder), size)
    return Work(folder)
