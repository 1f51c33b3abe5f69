"""`sluiceway env` and `run --env`: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import tarfile
import time
from pathlib import Path

import pytest

from sluiceway import cli
from tests.conftest import User

TABLE = """
[environments.there]
kind = "path"
path = "/usr"
variables = {{ WORD = "hello" }}

[environments.packed]
kind = "archive"
archive = "{folder}/packed.tar"

[environments.lost]
kind = "archive"
archive = "{folder}/lost.tar"
"""


@pytest.fixture
def user_with_environments(user: User) -> User:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    (user.folder / "home").mkdir()
    user.write("home/clusters.toml", TABLE.format(folder=user.folder))
    user.write("tool", "#!/bin/sh\necho hello\n")
    with tarfile.open("packed.tar", "w") as archive:
        archive.add("tool")
    return user


def sluiceway(*words: str) -> int:
    try:
        cli.main([*words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_run_says_in_which_environment_it_is_to_run(
    user_with_environments: User, capfd: pytest.CaptureFixture[str]
) -> None:
    user_with_environments.write("script.sh", 'echo "$WORD"')
    assert sluiceway("run", "script.sh", "--env", "there") == 0
    assert capfd.readouterr().out == "hello\n"
    told = json.loads(Path("data/output/run/manifest.json").read_text())
    assert told["parameters"]["runtime"]["kind"] == "path"


def test_an_environment_is_pushed_listed_examined_and_removed(
    user_with_environments: User, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sluiceway("env", "build", "packed", "--json") == 0
    built = json.loads(capfd.readouterr().out)
    assert Path(built["file"]).read_bytes() == Path("packed.tar").read_bytes()
    assert sluiceway("env", "push", "packed", "--json") == 0
    (seal,) = json.loads(capfd.readouterr().out)["lies"]
    assert sluiceway("env", "list", "--json") == 0
    (entry,) = json.loads(capfd.readouterr().out)
    assert (entry["name"], entry["standing"], entry["files"]) == ("packed", "ok", 1)
    assert sluiceway("env", "doctor", "packed") == 0
    assert sluiceway("env", "gc") == 0
    old = time.time() - 100 * 86400
    cache = user_with_environments.folder / "cache"
    (built,) = (each for each in (cache / "built").iterdir() if each.suffix != ".lock")
    for each in (seal, *built.iterdir(), built):
        os.utime(each, (old, old))
    capfd.readouterr()
    assert sluiceway("env", "gc", "--dry-run") == 0
    assert capfd.readouterr().out == f"{entry['key']}\nbuilt/{built.name}\n"
    assert built.exists()
    assert sluiceway("env", "gc") == 0
    assert list((cache / "built").iterdir()) == []
    capfd.readouterr()
    assert sluiceway("env", "list", "--json") == 0
    assert json.loads(capfd.readouterr().out) == []


def test_a_damaged_environment_is_examined_as_such(user_with_environments: User) -> None:
    assert sluiceway("env", "push", "packed") == 0
    (tree,) = (user_with_environments.folder / "cache" / "environments").glob("*/tool")
    tree.parent.chmod(0o755)
    tree.unlink()
    assert sluiceway("env", "doctor") == 4


def test_an_environment_that_was_left_half_made_is_no_failure_and_is_told(
    user_with_environments: User, capfd: pytest.CaptureFixture[str]
) -> None:
    (user_with_environments.folder / "cache" / "environments" / "abc").mkdir(parents=True)
    assert sluiceway("env", "doctor") == 0
    told = capfd.readouterr().out
    assert "left half-made" in told
    assert "env gc" in told


@pytest.mark.parametrize(("words", "code"), [(("push", "nowhere"), 2), (("push", "lost"), 2), (("doctor", "lost"), 4)])
def test_what_is_wrong_has_its_exit_code(user_with_environments: User, words: tuple[str, ...], code: int) -> None:
    assert sluiceway("env", *words) == code
