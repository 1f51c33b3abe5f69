"""The commit of a working tree, as git itself tells it, in every way that git keeps it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sluiceway.core.provenance.git import head_of
from tests.conftest import Missing

WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def git(tree: Path, *words: str) -> str:
    command = ["git", "-C", str(tree), *WHO, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path, missing: Missing) -> Path:
    """A working tree with one commit."""
    if shutil.which("git") is None:
        missing.part("git", why="git is not installed", get="git")
    made = tmp_path / "tree"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    git(made, "commit", "-q", "--allow-empty", "-m", "First")
    return made


@pytest.mark.parametrize(
    "done",
    [
        [],
        [["pack-refs", "--all"]],
        [["pack-refs", "--all"], ["commit", "-q", "--allow-empty", "-m", "Second"]],
        [["checkout", "-q", "--detach"]],
        [["checkout", "-q", "-b", "work/new"]],
    ],
    ids=["a branch", "packed", "packed and moved", "detached", "a branch with a slash"],
)
def test_the_head_is_the_one_that_git_tells(tree: Path, done: list[list[str]]) -> None:
    for words in done:
        git(tree, *words)
    assert head_of(tree) == git(tree, "rev-parse", "HEAD")


@pytest.mark.parametrize("packed", [False, True])
def test_a_linked_worktree_has_a_head_of_its_own(tree: Path, packed: bool) -> None:
    linked = tree.parent / "linked"
    git(tree, "worktree", "add", "-q", "-b", "other", str(linked))
    git(linked, "commit", "-q", "--allow-empty", "-m", "Second")
    if packed:
        git(tree, "pack-refs", "--all")
    assert head_of(linked) == git(linked, "rev-parse", "HEAD") != head_of(tree)


def test_a_tree_without_commits_or_git_has_no_head(tmp_path: Path, tree: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "empty")
    assert head_of(tmp_path / "empty") is None
    assert head_of(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"ref: refs/heads/none\n", b"ref: HEAD\n"])
def test_a_head_that_cannot_be_read_is_unknown(tree: Path, content: bytes) -> None:
    (tree / ".git" / "HEAD").write_bytes(content)
    assert head_of(tree) is None
