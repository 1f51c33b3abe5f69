"""The batch script and the call of sbatch say what the order says, whatever characters it holds."""

from __future__ import annotations

import shlex
import subprocess
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from sluiceway.core.errors import ResourcesInvalid
from sluiceway.core.slurm import commands
from sluiceway.core.slurm.job import Array, Dependency, DependencyKind, JobId, JobSpec
from sluiceway.core.slurm.resources import Resources
from sluiceway.core.slurm.script import batch_script

FOLDER = PurePosixPath("/runs/k/a1")


def spec(**fields: Any) -> JobSpec:
    given = {
        "token": "sw-k-a1",
        "comment": "{}",
        "resources": Resources(nodes=1),
        "command": ("echo", "hello"),
        "folder": FOLDER,
        "stdout": FOLDER / "stdout.txt",
        "stderr": FOLDER / "stderr.txt",
        "outcome": FOLDER / "outcome.json",
    }
    return JobSpec(**{**given, **fields})


def test_a_small_job_is_a_small_script() -> None:
    assert batch_script(spec()) == (
        '#!/bin/sh\n#SBATCH "--nodes=1"\n#SBATCH "--open-mode=append"\n#SBATCH "--no-requeue"\nexec echo hello\n'
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"requeue": True}, '#SBATCH "--requeue"'),
        ({"signal_lead": timedelta(minutes=2)}, '#SBATCH "--signal=B:USR1@120"'),
        ({"array": Array(count=100, throttle=4)}, '#SBATCH "--array=0-99%4"'),
        ({"array": Array(count=5, offset=100)}, "export SLUICEWAY_ARRAY_OFFSET=100"),
        ({"dependencies": (Dependency(DependencyKind.AFTER_OK, JobId(7)),)}, '#SBATCH "--dependency=afterok:7"'),
        ({"dependencies": (Dependency(DependencyKind.AFTER_OK, JobId(7)),)}, '#SBATCH "--kill-on-invalid-dep=yes"'),
        ({"resources": Resources(constraint='a"b\\c#d')}, '#SBATCH "--constraint=a\\"b\\\\c#d"'),
    ],
)
def test_each_wish_is_a_line_of_the_script(fields: dict[str, Any], line: str) -> None:
    """Red on: core/slurm/resources.py: `if name not in ("exclusive", "extra_sbatch")` -> `if name not in
    ("exclusive", "extra_sbatch", "constraint")`.
    """
    assert line in batch_script(spec(**fields)).splitlines()


def test_components_are_divided_as_slurm_wants_it() -> None:
    lines = batch_script(spec(components=(Resources(cpus=2), Resources(gpus=1)))).splitlines()
    assert lines.count("#SBATCH hetjob") == 2
    assert lines.index('#SBATCH "--nodes=1"') < lines.index("#SBATCH hetjob") < lines.index('#SBATCH "--gpus=1"')


@pytest.mark.parametrize("word", ["a b", "it's", '"x"', "$(id)`id`$HOME", "-n", "one\ntwo", "caf\udce9", "\\", "*"])
def test_the_shell_gives_every_word_as_it_was(word: str) -> None:
    script = batch_script(spec(command=("printf", "%s", word))).encode(errors="surrogateescape")
    assert subprocess.run(["sh"], input=script, capture_output=True, check=True).stdout == word.encode(
        errors="surrogateescape"
    )


@pytest.mark.parametrize("option", ['a"b', "a\\b", "a b", "$(id)", "#x", "it's"])
def test_a_directive_is_one_word(option: str) -> None:
    (line,) = [
        each for each in batch_script(spec(resources=Resources(account=option))).splitlines() if "account" in each
    ]
    assert shlex.split(line.removeprefix("#SBATCH ")) == [f"--account={option}"]


def test_patterns_of_slurm_in_a_path_are_no_patterns() -> None:
    called = commands.sbatch(spec(stdout=PurePosixPath("/r/100%j/out-%a.txt")))
    assert "--output=/r/100%%j/out-%a.txt" in called


def test_a_file_that_slurm_could_not_name_is_refused() -> None:
    with pytest.raises(ResourcesInvalid, match="backslash"):
        commands.sbatch(spec(stdout=PurePosixPath("/r/a\\b")))


@pytest.mark.parametrize(
    "fields",
    [
        {"token": ""},
        {"command": ()},
        {"command": ("a\0b",)},
        {"folder": PurePosixPath("relative")},
        {"folder": PurePosixPath("/two\nlines")},
    ],
)
def test_an_order_that_no_script_can_say_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ResourcesInvalid):
        spec(**fields)


def test_a_long_map_is_several_arrays_whose_indices_start_at_zero() -> None:
    parts = Array.split(1050, largest=1001, throttle=9)
    assert [(str(part), part.offset) for part in parts] == [("0-1000%9", 0), ("0-48%9", 1001)]
