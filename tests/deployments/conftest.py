"""A PostgreSQL for Prefect's server, the one that the registry's tests have."""

from __future__ import annotations

import subprocess
from uuid import uuid4

import pytest

from tests.core.registry.conftest import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """The URL of an empty database of PostgreSQL."""
    name = f"t{uuid4().hex}"
    user, _, place = postgres_server.removeprefix("postgresql://").partition("@/NAME?host=")
    command = ["psql", "-q", "-h", place, "-U", user, "-d", "postgres", "-c", f"CREATE DATABASE {name}"]
    subprocess.run(command, check=True)
    return postgres_server.replace("NAME", name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty database of PostgreSQL; none is Prefect's own SQLite."""
    url: str | None = None if request.param == "sqlite" else request.getfixturevalue("postgres")
    return url
