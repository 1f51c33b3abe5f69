"""The tiers of the tests: each folder is one, and a part that is missing is said, or under CI is a failure.

pure (everything else), wire/, engine/, cluster/: a test gets its tier's marker from the folder it stands in. A test on
real data asks for `real_data`; without SLUICEWAY_TEST_DATA it is left out, and their number is told.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TIERS = ("wire", "engine", "cluster")
# Runs in an environment of its own, with packages that are not here.
collect_ignore = ["core/provenance/context_kept.py"]

_missing = pytest.StashKey[dict[str, str]]()
_left_out = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Give sluiceway and Prefect folders of this session: before any import, for Prefect reads its own then."""
    config.stash[_missing] = {}
    own = Path(tempfile.mkdtemp(prefix="sluiceway-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))
    theirs = [
        name for name in os.environ if name.startswith(("SLUICEWAY_", "PREFECT_")) and name != "SLUICEWAY_TEST_DATA"
    ]
    for name in theirs:
        del os.environ[name]
    os.environ.update(
        DO_NOT_TRACK="1",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_HOME=str(own / "prefect"),
        SLUICEWAY_HOME=str(own / "home"),
        SLUICEWAY_CACHE_DIR=str(own / "cache"),
        # No test asks the real catalogue for anything.
        SLUICEWAY_OFFLINE="1",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the tier of its folder; leave out those on real data where there is none."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder in TIERS:
            item.add_marker(folder)
    if "SLUICEWAY_TEST_DATA" not in os.environ:
        left_out = [item for item in items if "real_data" in getattr(item, "fixturenames", ())]
        config.stash[_left_out] = len(left_out)
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scoring files and genotypes; where the variable names none, the test fails."""
    folder = Path(os.environ["SLUICEWAY_TEST_DATA"])
    if not folder.is_dir():
        pytest.fail(f"SLUICEWAY_TEST_DATA is {str(folder)!r}, which is no folder")
    return folder


class Missing:
    """Ends a test whose tier lacks a part: a failure under CI, elsewhere a skip that the last lines tell."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def part(self, tier: str, *, why: str, get: str) -> None:
        said = f"tier {tier} did not run: {why}. To run it: {get}"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        self._config.stash[_missing][tier] = said
        pytest.skip(said)


@pytest.fixture(scope="session")
def missing(pytestconfig: pytest.Config) -> Missing:
    return Missing(pytestconfig)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line each which tier did not run, and how to get it."""
    for said in config.stash[_missing].values():
        terminalreporter.write_line(said, yellow=True)
    left_out = config.stash.get(_left_out, 0)
    if left_out:
        told = f"{left_out} tests on real data were left out: SLUICEWAY_TEST_DATA is not set"
        terminalreporter.write_line(told, yellow=True)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> User:
    """A user whose environment and working directory a test may change; both are put back."""
    return User(monkeypatch, tmp_path)


class User:
    """Somebody at a shell, in an empty folder."""

    def __init__(self, undo: pytest.MonkeyPatch, folder: Path) -> None:
        self._undo = undo
        undo.chdir(folder)
        self.folder = folder

    def export(self, name: str, value: str) -> None:
        self._undo.setenv(name, value)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
