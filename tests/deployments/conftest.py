"""A PostgreSQL for Prefect's server, the one that the registry's tests have."""

from __future__ import annotations

import subprocess
from uuid import uuid4

import pytest

from tests.core.registry.conftest import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty database of PostgreSQL; none is Prefect's own SQLite."""
    if request.param == "sqlite":
        return None
    server: str = request.getfixturevalue("postgres_server")
    name = f"t{uuid4().hex}"
    user, _, place = server.removeprefix("postgresql://").partition("@/NAME?host=")
    command = ["psql", "-q", "-h", place, "-U", user, "-d", "postgres", "-c", f"CREATE DATABASE {name}"]
    subprocess.run(command, check=True)
    return server.replace("NAME", name)
