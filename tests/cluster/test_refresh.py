"""A whole refresh whose ranges are scored on the real Slurm: the bytes of this machine, and nothing the second time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.runs.refresh_options import OWN, READERS
from tests.cluster.test_score_array import TOML
from tests.cluster.test_score_array import python as python  # noqa: PLC0414 - a fixture
from tests.conftest import User
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import Invented

if TYPE_CHECKING:
    from sluiceway.deployments.devcluster.cluster import Devcluster

TABLES = ("scores.parquet", "distributions.parquet", "quality.parquet")


@pytest.fixture
def upstream(user: User) -> Iterator[LoopbackCatalog]:
    invented = Invented.made(user.folder / "here", variants=2_000, people=30)
    with invented.catalogue().served() as catalogue:
        user.export("SLUICEWAY_CATALOG_API", catalogue.source.api)
        user.export("SLUICEWAY_CATALOG_FILES", catalogue.source.files)
        user.export("SLUICEWAY_OFFLINE", "0")
        yield catalogue


def refresh(user: User, name: str, *options: str) -> dict[str, Any]:
    """Refresh with a home of this name, and give what was said."""
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / f"cache {name}"))
    command = [str(Path(sys.executable).with_name("sluiceway")), "refresh", "--headless", "--json"]
    words = ["--panel", str(user.folder / "here" / "panel"), "--panel-name", "made", "--out", name, *options]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def contents(user: User, name: str) -> list[bytes]:
    return [(user.folder / name / policy / table).read_bytes() for policy in (READERS, OWN) for table in TABLES]


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_whole_refresh_on_the_cluster_gives_the_bytes_of_this_machine(
    user: User, upstream: LoopbackCatalog, devcluster: Devcluster, python: Path
) -> None:
    plan = devcluster.plan
    there = plan.folder.home / "refreshed panel"
    Invented.made(there, variants=2_000, people=30)
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    (user.folder / "home").mkdir()
    config = plan.folder.ssh_config
    text = TOML.format(name=plan.name, config=config, python=python, here=user.folder / "here", there=there)
    user.write("home/clusters.toml", text)
    first = refresh(user, "west", "--on", "west")
    assert (first["n_total"], first["scored"], first["n_failed"]) == (6, 12, 0)
    assert [each["is_new"] for each in first["published"]] == [True, True]
    second = refresh(user, "west", "--on", "west")
    assert second["did_nothing"]
    user.export("SLUICEWAY_HOME", str(user.folder / "other home"))
    refresh(user, "local")
    assert contents(user, "west") == contents(user, "local")
