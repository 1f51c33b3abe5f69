"""Flows and tasks run in environments that a Prefect server knows as blocks."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import flow

from sluiceway.blocks.runtime_environment import RuntimeEnvironment
from sluiceway.flows.run_script import run_script
from sluiceway.tasks.slurm import slurm_task


async def saved(name: str, **variables: str) -> None:
    block = RuntimeEnvironment.model_validate({"kind": "path", "path": "/usr", "variables": variables})
    await block.save(name, overwrite=True)


async def test_a_script_runs_as_a_flow_in_an_environment(tmp_path: Path) -> None:
    await saved("one", WORD="hello")
    script = tmp_path / "script.sh"
    script.write_text('echo "$WORD"\n')
    receipt = await run_script(script, env="one", out=tmp_path / "out")
    assert receipt.stdout.read_text() == "hello\n"
    await saved("one", WORD="another")
    assert (await run_script(script, env="one", out=tmp_path / "out")).stdout.read_text() == "another\n"


@slurm_task(env="two")
def word(of: int) -> str:
    return f"{os.environ['WORD']} {of}"


async def test_a_function_runs_in_an_environment_in_a_flow() -> None:
    await saved("two", WORD="hello")

    @flow
    def words() -> list[str]:
        return [word(1), *(each.result() for each in word.map([2, 3]))]

    assert words() == ["hello 1", "hello 2", "hello 3"]
