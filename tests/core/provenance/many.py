"""A program that seals ten outputs, to be run by several at once."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.core.provenance.sealed import Project

if __name__ == "__main__":
    project = Project(Path(sys.argv[1]))
    for number in range(10):
        project.seal(f"{sys.argv[2]}-{number}.txt", "x")
