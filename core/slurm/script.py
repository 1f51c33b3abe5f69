"""The text of a batch script, and the only place where a value is quoted for Slurm or for a shell.

Two readers, two ways to quote: sbatch reads the #SBATCH lines, where a backslash escapes even between quotes; the
node's shell reads the rest. What names the job and its files goes to sbatch as arguments instead (commands.py), where
nothing needs quoting.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluiceway.core.slurm.job import JobSpec

# Where an element's place in the whole map is told to it: its own index starts at 0 in every array.
OFFSET_VARIABLE = "SLUICEWAY_ARRAY_OFFSET"


def batch_script(spec: JobSpec) -> str:
    """Write the batch script: the shell becomes the command, so that Slurm's signals reach it and its exit code is it.

    Write it to a file with errors="surrogateescape": arguments may hold bytes that are no UTF-8.
    """
    components = [[_directive(option) for option in each.options] for each in (spec.resources, *spec.components)]
    components[0] += [_directive(option) for option in _conduct(spec)]
    directives = list(components[0])
    for component in components[1:]:
        directives += ["#SBATCH hetjob", *component]
    command = shlex.join(spec.command)
    return "\n".join(["#!/bin/sh", *directives, *_exports(spec), f"exec {command}", ""])


def _conduct(spec: JobSpec) -> list[str]:
    """How the job behaves, in options of sbatch."""
    options = ["--open-mode=append", "--requeue" if spec.requeue else "--no-requeue"]
    if spec.array is not None:
        options.append(f"--array={spec.array}")
    if spec.dependencies:
        # Without the second, a job whose dependency failed waits for ever.
        options += [f"--dependency={','.join(map(str, spec.dependencies))}", "--kill-on-invalid-dep=yes"]
    if spec.signal_lead is not None:
        options.append(f"--signal=B:USR1@{math.ceil(spec.signal_lead.total_seconds())}")
    return options


def _directive(option: str) -> str:
    escaped = option.replace("\\", "\\\\").replace('"', '\\"')
    return f'#SBATCH "{escaped}"'


def _exports(spec: JobSpec) -> list[str]:
    return [] if spec.array is None else [f"export {OFFSET_VARIABLE}={spec.array.offset}"]
