"""Runs the command line in this process, and tells how it ended and what it said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sluiceway import cli
from tests.conftest import User

Run = Callable[..., tuple[int, str, str]]


def commands(capsys: pytest.CaptureFixture[str]) -> Run:
    """Give what runs a command: its exit code, what it printed, and what it remarked."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            cli.main([str(each) for each in words])
            code: Any = 0
        except SystemExit as ending:
            code = ending.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def commands_of(user: User, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give what runs commands of somebody whose home and cache are empty."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return commands(capsys)
