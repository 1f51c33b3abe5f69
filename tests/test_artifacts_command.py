"""`sluiceway artifacts` and `sluiceway gc`: answers, exit codes, and what stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.store.homes import store_here
from tests.command_line import Run, commands_of
from tests.conftest import User
from tests.core.store.kept import tree


@pytest.fixture
def run(user: User, capsys: pytest.CaptureFixture[str]) -> Run:
    return commands_of(user, capsys)


@pytest.fixture
def kept(run: Run, user: User) -> str:
    """The digest of an output that is kept, and gone from where it was."""
    source = tree(user.folder)
    digest = run("artifacts", "keep", source, "--tag", "best")[1].strip()
    shutil.rmtree(source)
    return digest


def test_what_is_kept_is_listed_shown_and_found_by_any_of_its_names(run: Run, kept: str, user: User) -> None:
    (row,) = json.loads(run("artifacts", "--json")[1])
    assert (row["digest"], row["tags"], row["name"], row["files"]) == (kept, ["best"], "output", 2)
    assert run("artifacts")[1].split("\t")[0] == kept
    for name in (kept, kept[:20], "best"):
        place = Path(run("artifacts", "path", name)[1].strip())
        assert (place / "a.txt").read_text() == "one"
    run("artifacts", "link", "best", user.folder / "shown")
    shown = json.loads(run("artifacts", "show", "best", "--json")[1])
    assert shown["links"] == [str(user.folder / "shown")]
    assert [each["tag"] for each in shown["history"]] == ["best"]


def test_a_name_that_nothing_has_is_a_usage_problem(run: Run) -> None:
    code, _, error = run("artifacts", "path", "best")
    assert code == 2
    assert "there is no artifact 'best'" in " ".join(error.split())


def test_garbage_is_told_then_collected_then_restored(run: Run, kept: str) -> None:
    assert json.loads(run("gc", "--grace", "0s", "--json")[1])["trashed"] == []
    run("artifacts", "untag", "best")
    told = json.loads(run("gc", "--grace", "0s", "--json")[1])
    assert (told["trashed"], told["done"]) == ([kept], False)
    assert run("artifacts", "path", kept)[0] == 0
    code, said, remark = run("gc", "--grace", "0s", "--do")
    assert (code, said) == (0, f"trashed\t{kept}\n")
    assert "1 of 1 artifacts" in " ".join(remark.split())
    assert run("artifacts", "path", kept)[0] == 2
    assert run("gc", "--restore", kept)[0] == 0
    assert run("artifacts", "path", kept)[0] == 0
    assert json.loads(run("gc", "--json")[1])["trashed"] == []


def test_an_output_that_is_there_names_its_artifact(run: Run, user: User) -> None:
    output = tree(user.folder)
    clock = SystemClock()
    seal(Manifest(output_id="x", ending=Ending(status="ok")), output, ledger=ledger_here(clock))
    digest = run("artifacts", "keep", output)[1].strip()
    assert json.loads(run("gc", "--grace", "0s", "--do", "--json")[1])["trashed"] == []
    shutil.rmtree(output)
    assert json.loads(run("gc", "--grace", "0s", "--do", "--json")[1])["trashed"] == [digest]


def test_a_damaged_artifact_fails_the_verification(run: Run, kept: str) -> None:
    assert run("artifacts", "verify")[:2] == (0, "1 artifacts, 0 damaged\n")
    file = store_here(SystemClock()).place_of(kept) / "content" / "a.txt"
    file.chmod(0o644)
    file.write_text("two")
    code, said, _ = run("artifacts", "verify", "--json")
    assert (code, json.loads(said)["damaged"]) == (1, [kept])
    assert run("artifacts")[1] == ""


def test_a_shared_store_knows_the_homes_that_use_it(run: Run, user: User) -> None:
    user.export("SLUICEWAY_STORE_DIR", str(user.folder / "shared"))
    (user.folder / "home").mkdir()
    run("artifacts", "keep", tree(user.folder), "--tag", "best")
    user.export("SLUICEWAY_HOME", str(user.folder / "other"))
    assert run("artifacts", "path", "best")[1].startswith(str(user.folder / "shared"))
    shutil.rmtree(user.folder / "home")
    code, _, error = run("gc")
    assert code == 1
    assert "gone for good" in " ".join(error.split())
