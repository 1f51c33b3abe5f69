"""The registry's databases: SQLite always, PostgreSQL where Debian's is installed; every test runs on both."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from sluiceway.core.registry.database import Database
from tests.conftest import Missing


def _programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_server(missing: Missing) -> Iterator[str]:
    """A server of this session, in a folder of its own, that listens on a socket only; its URL has no database yet."""
    programs = _programs()
    if programs is None:
        missing.part("postgres", why="Debian's postgresql is not installed", get="make debian, as root or with sudo")
        raise AssertionError("a part that is missing ends the test")
    folder = Path(tempfile.mkdtemp(prefix="sw-pg-"))
    # It refuses to run as root.
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    user = "nobody" if as_user else getpass.getuser()
    if as_user:
        shutil.chown(folder, "nobody", "nogroup")

    def run(program: str, *words: str) -> None:
        command = [*as_user, str(programs / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    run("initdb", "--auth=trust", "--no-sync", f"--username={user}")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://{user}@/NAME?host={folder}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.sqlite"
    server: str = request.getfixturevalue("postgres_server")
    name = f"t{uuid4().hex}"
    user, _, place = server.removeprefix("postgresql://").partition("@/NAME?host=")
    command = ["psql", "-q", "-h", place, "-U", user, "-d", "postgres", "-c", f"CREATE DATABASE {name}"]
    subprocess.run(command, check=True)
    return server.replace("NAME", name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with await Database.opened(url) as opened:
        yield opened
