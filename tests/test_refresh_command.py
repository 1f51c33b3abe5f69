"""`sluiceway refresh`, and the page about it: what is printed, what codes it ends with, and that examples run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sluiceway import cli
from sluiceway.core.catalog.backlog import State
from sluiceway.core.publish.snapshot import Published
from tests.conftest import ROOT, User
from tests.loopback_catalog import LoopbackCatalog
from tests.refreshing import GOOD, Invented, Site

PAGE = (ROOT / "docs" / "refresh.md").read_text()
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Invented:
    return Invented.made(tmp_path_factory.mktemp("invented"), variants=1_500, people=12)


@pytest.fixture
def upstream(invented: Invented, user: User) -> Iterator[LoopbackCatalog]:
    with invented.catalogue(*GOOD[:2]).served() as catalogue:
        user.export("SLUICEWAY_HOME", str(user.folder / "home"))
        user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
        user.export("SLUICEWAY_CATALOG_API", catalogue.source.api)
        user.export("SLUICEWAY_CATALOG_FILES", catalogue.source.files)
        user.export("SLUICEWAY_OFFLINE", "0")
        yield catalogue


@pytest.fixture
def say(upstream: LoopbackCatalog, invented: Invented, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs `sluiceway refresh ...` headless, and gives exit code, output and remarks."""

    def run(*arguments: str) -> tuple[int, str, str]:
        words = ("refresh", "--headless", "--no-publish", "--panel", str(invented.panel), "--out", "out", *arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main(list(words))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_summary_is_json_for_programs_and_a_second_run_says_that_it_did_nothing(say: Say) -> None:
    code, told, _ = say("--json")
    first = json.loads(told)
    assert (code, first["n_total"], first["n_cached"], first["scored"]) == (0, 2, 0, 2)
    second = json.loads(say("--json")[1])
    assert (second["did_nothing"], second["n_cached"]) == (True, 2)
    assert "Nothing to do: 2 scores" in say()[1]


def test_the_plan_as_json_names_every_score_with_its_reason(say: Say) -> None:
    plan = json.loads(say("--dry-run", "--json")[1])
    assert plan["counts"] == {"new": 2}
    assert {each["why"] for each in plan["scores"]} == {"it was never brought here"}
    assert not Path("out").exists()


def test_a_state_that_is_none_is_refused_with_those_there_are(say: Say) -> None:
    code, _, told = say("--only", "lost")
    assert code == 2
    assert "'missing'" in told


def test_an_id_of_another_form_is_refused_with_the_form_that_it_has(say: Say) -> None:
    code, _, told = say("--scores", "PGS1")
    assert (code, "PGS and six digits" in told, "pattern" in told) == (2, True, False)


def test_what_is_published_is_told_with_its_folder() -> None:
    there = Published(
        dataset="prs-percentiles", number=7, folder=Path("/srv/versions/0007"), is_new=False, is_partial=True,
        changed=(), commit="c0ffee",
    )  # fmt: skip
    assert there.said == "prs-percentiles: version 7, as before, partial, commit c0ffee on the hub: /srv/versions/0007"


def test_a_refresh_beside_another_is_refused_with_exit_code_2(
    say: Say, upstream: LoopbackCatalog, invented: Invented, user: User
) -> None:
    site = Site(
        upstream=upstream,
        home=user.folder / "home",
        cache=user.folder / "cache",
        out=Path("other"),
        panel=invented.panel,
    )
    with site.refresh().alone():
        code, _, told = say()
    assert (code, "is on its way: process" in " ".join(told.split())) == (2, True)


def test_a_block_of_the_hub_needs_prefect(say: Say) -> None:
    code, _, told = say("--hub", "mine")
    assert (code, "Prefect" in told) == (2, True)


def test_every_state_and_option_stands_on_the_page() -> None:
    assert [state for state in State if f"| `{state.value}` |" not in PAGE] == []


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_examples_of_the_page_run_and_print_what_it_says(
    upstream: LoopbackCatalog, invented: Invented, user: User
) -> None:
    (user.folder / "panels").mkdir()
    for file in invented.panel.parent.glob("panel.*"):
        (user.folder / "panels" / file.name.replace("panel", "small", 1)).symlink_to(file)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shell = subprocess.run(
        ["sh", "-e", "-c", "".join(blocks("sh"))], env=env, capture_output=True, text=True, check=True
    )
    assert shell.stdout.startswith("".join(blocks("text")))
    assert shell.stdout.count("Nothing to do: 2 scores are as the catalogue has them; the tables are whole.") == 2
    user.write("page.py", "".join(blocks("python")))
    program = subprocess.run([sys.executable, "page.py"], env=env, capture_output=True, text=True, check=True)
    assert program.stdout == "0 files brought, 0 results made.\n"
