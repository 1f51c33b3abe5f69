"""`sluiceway score` with a policy of one's own: it is followed, named in the manifest, and what it took is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sluiceway import cli
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.provenance import manifest
from tests.conftest import User
from tests.panels import Row, write_pgen

SCORE = "#pgs_id=PGS000001\n#genome_build=GRCh38\nchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n"
ROWS = "1\t100\tA\tG\t1\n1\t200\tA\tT\t2\n"
PANEL = [
    Row(place="1:100", ref="G", alt="A", calls="0/1 1/1 . 0/0"),
    Row(place="1:200", ref="A", alt="T", calls="0/1 1/1 0/0 0/0"),
]
COUNTS = ("n_total", "n_ok", "n_failed", "n_cached", "coverage")


LOADED = """\
import sys
from sluiceway.cli import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in ("asyncssh", "prefect", "distributed") if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture
def words(user: User) -> list[str]:
    """A panel, a score and a policy in files, and the words that score by them."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    write_pgen(user.folder / "panel_GRCh38", "#IID SEX\na 1\nb 2\nc 1\nd 2", PANEL)
    (user.folder / "mine.txt").write_text(SCORE + ROWS)
    (user.folder / "mine.toml").write_text('ambiguous = "keep"\nmissing = "zero"\n')
    options = {"panel": "panel_GRCh38", "scores": "mine.txt", "policy": "mine.toml", "out": "out"}
    return ["score", *(word for name, file in options.items() for word in (f"--{name}", str(user.folder / file)))]


@pytest.fixture
def out(user: User, words: list[str]) -> Path:
    """Score four people, and give the folder of the results."""
    done = CliRunner().invoke(cli.app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return user.folder / "out"


def test_a_policy_in_a_file_is_followed_and_written_out_whole(out: Path) -> None:
    assert pl.read_parquet(out / "scores.parquet").sort("sample")["sum"].to_list() == [1 + 2, 2, 4, 4]
    written = json.loads((out / "manifest.json").read_text())
    told = next(each for each in _tables(written) if "ambiguous" in each)
    policy = Policy(ambiguous="keep", missing="zero").model_dump()
    assert {name: told.get(name) for name in policy} == policy


def test_the_manifest_tells_the_counts_and_what_each_step_used(out: Path) -> None:
    written = manifest.read(out / "manifest.json")
    assert written.counts is not None
    assert [getattr(written.counts, name) for name in COUNTS] == [1, 1, 0, 0, 1.0]
    steps = {each.name: each.resources for each in written.steps or ()}
    assert {"prepare_panel", "plan_scores", "score_batches", "summarise_distributions"} <= set(steps)
    for used in steps.values():
        assert None not in (used.cpu_seconds, used.wall_seconds, used.peak_memory_bytes, used.bytes_read)
    assert (steps["prepare_panel"].bytes_read or 0) > 0


def test_scoring_here_loads_nothing_that_reaches_other_machines(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def _tables(value: object) -> list[dict[str, object]]:
    """Every table within a JSON value."""
    if isinstance(value, list):
        return [table for each in value for table in _tables(each)]
    return [value, *_tables(list(value.values()))] if isinstance(value, dict) else []
