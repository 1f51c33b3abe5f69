"""A store that a group shares: everybody adds, nobody touches what another has put."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway.core.errors import SettingsInvalid
from sluiceway.core.store.artifacts import ArtifactStore
from tests.clocks import SteppedClock
from tests.conftest import ROOT
from tests.core.store.kept import store_in, tree

GROUP = grp.getgrgid(100)
ADA, BEN = 1, 65534

BEGIN = """
import sys
from datetime import timedelta
from pathlib import Path
from sluiceway.core.errors import SluicewayError
from sluiceway.core.store.artifacts import ArtifactStore
from sluiceway.core.store.gc import Garbage
from sluiceway.core.store.links import Links
from sluiceway.core.store.tags import Tags
from tests.clocks import SteppedClock
from tests.core.store.kept import tree
folder = Path(sys.argv[1])
store = ArtifactStore(folder / "store", clock=SteppedClock(), group=sys.argv[2])
def refused(work):
    try:
        work()
    except (PermissionError, SluicewayError) as error:
        print("refused")
    else:
        print("done")
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
As = Callable[[int, str], list[str]]


@pytest.fixture
def folder(public: Path, tmp_path: Path) -> Path:
    """A folder that the group may write to, made by root."""
    shared = public / "shared"
    shared.mkdir()
    os.chown(shared, 0, GROUP.gr_gid)
    shared.chmod(0o2770)
    ArtifactStore(shared / "store", clock=SteppedClock(), group=GROUP.gr_name).put(tree(tmp_path, "roots", "root's"))
    return shared


@pytest.fixture
def as_user(folder: Path) -> As:
    """Run a program as another member of the group, and give the lines it prints."""

    def run(user: int, program: str) -> list[str]:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={GROUP.gr_gid}"]
        command = [*become, sys.executable, "-c", BEGIN + program, str(folder), GROUP.gr_name]
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def test_members_add_and_read_and_each_artifact_tells_who_put_it(folder: Path, as_user: As) -> None:
    (digest,) = as_user(ADA, "print(store.put(tree(folder, 'adas')).digest)")
    assert as_user(BEN, f"print(store.verified('{digest}', full=True).submitted_by)") == ["daemon"]
    assert as_user(BEN, "print(store.put(folder / 'adas').submitted_by)") == ["daemon"]
    assert len(as_user(BEN, "print(*store.every())")) == 2


def test_nobody_writes_moves_or_collects_what_another_has_put(folder: Path, as_user: As) -> None:
    """Red on: core/store/sharing.py: `_SHARED_FOLDER: Final = 0o3770` -> `_SHARED_FOLDER: Final = 0o2777`."""
    (digest,) = as_user(ADA, "print(store.put(tree(folder, 'adas')).digest)")
    program = f"""
place = store.place_of("{digest}")
refused(lambda: (place / "content" / "a.txt").open("r+"))
refused(lambda: (place / "new").touch())
refused(lambda: place.rename(place.with_name("stolen")))
refused(lambda: (place / "record.json").unlink())
collected = Garbage(store=store, grace=timedelta()).collect([], do=True)
print("others" if "{digest}" in collected.others and not collected.trashed else collected)
"""
    assert as_user(BEN, program) == [*["refused"] * 4, "others"]
    assert as_user(ADA, "print(len(Garbage(store=store, grace=timedelta()).collect([], do=True).trashed))") == ["1"]


def test_a_tag_belongs_to_who_gave_it_and_all_can_read_it(folder: Path, as_user: As) -> None:
    (digest,) = as_user(ADA, "d = store.put(tree(folder, 'adas')).digest; Tags(store).tag('best', d); print(d)")
    assert as_user(BEN, "print(Tags(store).resolve('best').digest)") == [digest]
    assert as_user(BEN, "refused(lambda: Tags(store).untag('best'))") == ["refused"]
    assert as_user(BEN, f"refused(lambda: Tags(store).tag('mine', '{digest}'))") == ["done"]


def test_what_another_member_holds_is_not_collected(folder: Path, as_user: As) -> None:
    (digest,) = as_user(ADA, "print(store.put(tree(folder, 'adas')).digest)")
    program = f"""
with store.holds.own() as held:
    held.add("{digest}")
    print(store.holds.held() == {{"{digest}"}})
"""
    assert as_user(BEN, program) == ["True"]


def test_whoever_is_not_in_the_group_sees_nothing(folder: Path) -> None:
    become = ["setpriv", "--reuid=5", "--regid=60", "--clear-groups"]
    assert subprocess.run([*become, "ls", folder / "store"], capture_output=True, check=False).returncode != 0


def test_a_group_that_does_not_exist_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store", clock=SteppedClock(), group="no such group")
    with pytest.raises(SettingsInvalid, match="no such group"):
        store.put(tree(tmp_path))


def test_a_store_of_ones_own_keeps_the_modes_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store_in(tmp_path).put(tree(tmp_path))
    finally:
        os.umask(before)
    assert (tmp_path / "store" / "artifacts").stat().st_mode & 0o7777 == 0o750
