"""A program that seals outputs while files cannot grow any more, and prints what came of it."""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

from sluiceway.core.errors import StorageFailed
from tests.core.provenance.sealed import Project


def main(folder: Path) -> None:
    project = Project(folder)
    project.seal("first.txt", "x")
    size = project.ledger.path.stat().st_size
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
    try:
        project.ledger.enter(project.manifest("second.txt"), project.out("second.txt"))
        said = "entered"
    except StorageFailed as error:
        said = str(error)
    left = project.ledger.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if left != size:
        said = f"{left - size} bytes were left"
    project.seal("later.txt", "x")
    entries = [Path(each.output).name for each in project.ledger.history().entries]
    sys.stdout.write(f"{said}\n{json.dumps(entries)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
