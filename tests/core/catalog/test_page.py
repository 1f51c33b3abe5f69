"""The page about the catalogue tells the truth: its examples run, and its tables are those there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.catalog.metadata import clean
from tests.conftest import ROOT, User
from tests.core.catalog.test_metadata import laid_out
from tests.loopback_catalog import LoopbackCatalog
from tests.loopback_content import invented

PAGE = (ROOT / "docs" / "catalog.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(upstream: LoopbackCatalog, folder: Path, *command: str) -> str:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLUICEWAY_HOME": str(folder / "home"),
        "SLUICEWAY_CACHE_DIR": str(folder / "cache"),
        "SLUICEWAY_CATALOG_API": upstream.source.api,
        "SLUICEWAY_CATALOG_FILES": upstream.source.files,
        "SLUICEWAY_OFFLINE": "0",
    }
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_program_of_the_page_prints_what_it_says(user: User, upstream: LoopbackCatalog) -> None:
    user.write("page.py", "\n".join(blocks("python")))
    assert run(upstream, user.folder, sys.executable, "page.py") == "".join(blocks("text"))


@pytest.mark.nightly
def test_the_commands_of_the_page_run(user: User, upstream: LoopbackCatalog) -> None:
    said = run(upstream, user.folder, "sh", "-e", "-c", "".join(blocks("sh")))
    assert "6 added" in said
    assert "PRS_3" in said


def test_every_column_of_every_table_stands_on_the_page(tmp_path: Path) -> None:
    catalog = invented(2)
    tables = clean(laid_out(catalog, tmp_path))
    sheets = {"development_samples", "evaluation_samples", "cohorts"}
    columns = {column for name, table in tables.items() for column in table.columns if name not in sheets}
    parts = re.compile(r"(or|hr|beta|auroc|cindex)_(estimate|ci_lower|ci_upper|se)")
    assert [each for each in columns if f"`{each}`" not in PAGE and not parts.fullmatch(each)] == []
    assert [name for name in tables if f"`{name}`" not in PAGE] == []
