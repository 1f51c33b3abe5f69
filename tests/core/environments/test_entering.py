"""Steps of sessions, and whatever else is no run, are put in an environment by words before them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path, PurePosixPath

import pytest

from sluiceway.core.environments.activation import Activation
from sluiceway.core.environments.entering import require_enterable, words_into
from sluiceway.core.environments.environment import environment_of
from sluiceway.core.environments.runtime import Recipe, Runtime
from sluiceway.core.errors import EnvironmentUnusable, PlaceUnusable
from sluiceway.core.launch.held import held_here
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command, Completed
from sluiceway.core.runs.place import parse
from sluiceway.tasks.dask_ranges import scorer_at
from sluiceway.tasks.launch import Engine, Where
from tests.conftest import User
from tests.core.launch.test_held import ToyLauncher

SHOW = 'printf "%s|%s|%s" "$WORD" "${PATH%%:*}" "$1"; exit 7'


async def entered(folder: Path, activation: Activation, *argv: str) -> Completed:
    shell = LocalShell()
    words = await words_into(activation, shell, folder=PurePosixPath(folder), python=sys.executable)
    return await shell.run(Command(argv=(*words, *argv)))


async def test_a_command_behind_the_words_runs_in_the_environment_with_its_own_words_and_exit_code(
    tmp_path: Path,
) -> None:
    inside = Activation(name="mine", identity={}, variables={"WORD": "in it's $(it)"}, path=("/an env/bin",))
    done = await entered(tmp_path / "a b", inside, "sh", "-c", SHOW, "sh", "$(id) x")
    assert (done.exit_code, done.text) == (7, "in it's $(it)|/an env/bin|$(id) x")


async def test_many_steps_enter_the_same_environment_at_once(tmp_path: Path) -> None:
    inside = Activation(name="mine", identity={}, variables={"WORD": "here"})
    shell = LocalShell()
    words = await words_into(inside, shell, folder=PurePosixPath(tmp_path), python=sys.executable)
    step = Command(argv=(*words, "sh", "-c", 'echo "$WORD"'))
    done = await asyncio.gather(*(shell.run(step) for _ in range(12)))
    assert [each.text for each in done] == ["here\n"] * 12
    assert json.loads((tmp_path / "entered.json").read_bytes())["environment"] == "mine"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


async def test_what_the_environment_needs_and_is_not_there_is_told(tmp_path: Path) -> None:
    gone = Activation(name="mine", identity={}, sealed=(str(tmp_path / "gone"),))
    done = await entered(tmp_path, gone, "true")
    assert done.exit_code == 78
    assert b"the environment mine cannot be used on" in done.stderr


def runtime_of(**fields: object) -> Runtime:
    return Runtime(name="mine", identity={}, recipe=Recipe(environment=environment_of("mine", fields, where="a test")))


def test_a_container_holds_runs_only_unless_it_is_to_be_none() -> None:
    require_enterable(runtime_of(kind="container", image="box", runtime="none"), where="west")
    require_enterable(runtime_of(kind="path", path="/usr"), where="west")
    with pytest.raises(EnvironmentUnusable, match="'mine' cannot be used at west: only a run has the folder"):
        require_enterable(runtime_of(kind="container", image="box"), where="west")


@pytest.mark.parametrize("on", ["local", "dask", "dask@west"])
def test_scores_that_no_jobs_of_a_cluster_work_out_take_no_environment(on: str) -> None:
    with (
        pytest.raises(PlaceUnusable, match="only the elements of a cluster's array run in an environment, and 'mine'"),
        scorer_at(parse(on), workers=1, runtime=runtime_of(kind="path", path="/usr")),
    ):
        pass


async def test_an_engine_that_is_held_here_runs_in_an_environment_and_so_do_programs_beside_it(user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder))
    folder = Path(sys.executable).parent.parent
    user.write(
        "clusters.toml", f'[environments.mine]\nkind = "path"\npath = "{folder}"\nvariables = {{ WORD = "in" }}\n'
    )
    engine = Engine()
    await engine.begin(ToyLauncher(nodes=2), Where(on="local", env="mine"))
    async with engine:
        done = await engine.run(Command.of("sh", "-c", 'echo "$WORD $TOY $SLUICEWAY_LAUNCHER"; command -v python3'))
        assert done.text == f"in toy://here toy\n{folder}/bin/python3\n"
        assert engine.variables == {"TOY": "toy://here"}


async def test_a_program_beside_an_engine_finds_it_by_its_variables(tmp_path: Path) -> None:
    with held_here(sys.executable) as holding:
        async with holding.engine(ToyLauncher(nodes=1)) as connection:
            beside = connection.beside(Command.of("sh", "-c", 'echo "$TOY $1"; cat', "sh", "$(id)", stdin=b"in"))
            assert (await holding.run(beside)).text == "toy://here $(id)\nin"
