"""What tests of the store share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users can reach: pytest closes those that it gives, at the start of any session."""
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-public-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
