"""What tests of whole runs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import User


@pytest.fixture
def place(user: User) -> Path:
    """A home and a cache of this test alone."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return user.folder
