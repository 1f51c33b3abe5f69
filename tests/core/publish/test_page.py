"""The page about publishing tells the truth: its program runs, and everything that there is stands on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sluiceway.core.publish import canaries, comparison, invariants, issues, review
from sluiceway.core.publish.audit import Rules
from sluiceway.core.publish.distributions import ENRICHED, STATISTICS
from sluiceway.core.publish.panel_set import panel_draft
from sluiceway.core.publish.review import Against, reviewed
from tests.conftest import ROOT
from tests.core.publish.conftest import Scenery

PAGE = (ROOT / "docs" / "publishing.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_program_of_the_page_prints_what_it_says(scenery: Scenery, tmp_path: Path) -> None:
    for suffix in (".pgen", ".pvar", ".psam"):
        (tmp_path / f"panel{suffix}").symlink_to(scenery.panel.prefix.with_name(f"panel{suffix}"))
    (tmp_path / "compatible").symlink_to(scenery.results)
    (tmp_path / "own").symlink_to(scenery.own)
    (tmp_path / "page.py").write_text("\n".join(blocks("python")))
    env = {**os.environ, "SLUICEWAY_HOME": str(scenery.home), "SLUICEWAY_CACHE_DIR": str(tmp_path / "cache")}
    command = (sys.executable, "page.py")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "".join(blocks("text"))


def test_every_table_and_every_column_of_ours_stands_on_the_page(scenery: Scenery) -> None:
    results = scenery.read()
    seen = reviewed("demo", results, scenery.facts(), Rules(), Against())
    draft = panel_draft("{panel}", seen, results.people, scenery.panel.build, None, None)
    assert [path for path in draft.pieces if f"`{Path(path).name}`" not in PAGE] == []
    known = {"pgs_id", "superpopulation", *STATISTICS, *ENRICHED}
    ours = [name for name in seen.tables["distributions"].columns if name not in known]
    assert [name for name in ours if f"`{name}`" not in PAGE] == []


def test_every_finding_stands_on_the_page() -> None:
    modules = (canaries, comparison, invariants, issues, review)
    text = "\n".join(Path(module.__file__ or "").read_text() for module in modules)
    codes = set(re.findall(r'"(?:BLOCK|WARN|ERROR)",\s*"(\w+)"', text)) | {"moved_by_code", "incomplete", "empty"}
    told = re.findall(r"`([\w*]+)`", PAGE)
    covers = [re.compile(each.replace("*", r"\w*")) for each in told]
    assert len(codes) > 20
    assert [code for code in sorted(codes) if not any(form.fullmatch(code) for form in covers)] == []
