"""A script's code travels to a cluster as it was when it was asked for, and what it made there is made there again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sluiceway.core.provenance.reproduce import Outcome
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.declared import declaring
from sluiceway.core.runs.place import Place
from sluiceway.core.runs.rerun import Reproducer
from sluiceway.core.runs.run import Runs
from sluiceway.core.runs.script_code import script_request
from sluiceway.core.runs.slurm_job import SlurmJob
from tests.conftest import User
from tests.wire.slurm.conftest import FastClock, Line
from tests.wire.slurm.test_runs import PLACE, There

SCRIPT = "#!/usr/bin/env python3\nfrom package import inner\nopen('x.csv', 'w').write(inner.TEXT)\n"


@pytest.fixture
def there(user: User, tmp_path: Path, line: Line, clock: FastClock) -> There:
    user.export("SLUICEWAY_HOME", str(tmp_path / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(tmp_path / "cache"))
    return There(tmp_path, line, clock)


async def test_what_a_cluster_made_with_a_helper_is_made_there_again(there: There) -> None:
    (there.folder / "package").mkdir()
    (there.folder / "package" / "__init__.py").touch()
    (there.folder / "package" / "inner.py").write_text("TEXT = 'x,y\\n1,2\\n'\n")
    script = there.folder / "script.py"
    script.write_text(SCRIPT)
    request = await script_request(script, shell=LocalShell(), **declaring(["x.csv:table"]))
    # From here on, what was read counts.
    (there.folder / "package" / "inner.py").write_text("broken(")
    receipt = await there.run(request)
    assert receipt.succeeded, receipt.why

    @asynccontextmanager
    async def reach(_place: Place, _runs: Runs) -> AsyncIterator[SlurmJob]:
        yield there.host()

    found = await Reproducer(clock=there.clock, place=PLACE, reach=reach).reproduce(receipt.folder)
    assert found.comparison.outcome is Outcome.IDENTICAL
    newest = there.runs.receipt(there.runs.folder(request.key))
    assert newest is not None
    assert (newest.attempt, newest.place, newest.succeeded) == (2, "west", True)
