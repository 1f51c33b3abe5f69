"""A script's output is kept, whatever comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway.core.errors import CommandFailed, InputMissing
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.script import run_script


async def test_what_a_script_prints_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "say.sh"
    script.write_text('echo "$1"; echo careful >&2')
    result = await run_script(script, ["a b"], out=tmp_path / "out", shell=LocalShell())
    assert result.stdout.read_text() == "a b\n"
    assert result.stderr.read_text() == "careful\n"


@pytest.mark.parametrize(("ending", "said"), [("exit 4", "exit code 4"), ("kill -9 $$", "signal KILL")])
async def test_a_failed_script_keeps_what_it_printed_and_raises(tmp_path: Path, ending: str, said: str) -> None:
    script = tmp_path / "fail.sh"
    script.write_text(f"echo so far; {ending}")
    with pytest.raises(CommandFailed, match=said):
        await run_script(script, [], out=tmp_path / "out", shell=LocalShell())
    assert (tmp_path / "out" / "stdout.txt").read_text() == "so far\n"


async def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"the script '.*/no\.sh'"):
        await run_script(tmp_path / "no.sh", [], out=tmp_path / "out", shell=LocalShell())
