"""Runs a script on a machine's shell and keeps what it printed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.core.errors import InputMissing
from sluiceway.core.events import tell
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluiceway.core.remote.shell import Shell

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptResult:
    """Where a script's output went."""

    stdout: Path
    stderr: Path


async def run_script(script: Path, arguments: Sequence[str], *, out: Path, shell: Shell) -> ScriptResult:
    """Run a shell script; what it printed is kept in `out` even when it fails, and then CommandFailed is raised."""
    await asyncio.to_thread(_require_file, script)
    completed = await shell.run(Command.of("sh", str(script), *arguments))
    result = ScriptResult(stdout=out / "stdout.txt", stderr=out / "stderr.txt")
    await asyncio.to_thread(_keep, result, completed.stdout, completed.stderr)
    tell(log, "script ended", exit_code=completed.exit_code, signal=completed.signal, out=str(out))
    completed.require_success()
    return result


def _require_file(script: Path) -> None:
    if not script.is_file():
        raise InputMissing(what="the script", path=script)


def _keep(result: ScriptResult, stdout: bytes, stderr: bytes) -> None:
    result.stdout.parent.mkdir(parents=True, exist_ok=True)
    result.stdout.write_bytes(stdout)
    result.stderr.write_bytes(stderr)
