"""The block of an environment: Prefect's own suite, its fields, and what runs in it."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import ValidationError

from sluiceway.blocks.runtime_environment import RuntimeEnvironment
from sluiceway.blocks.slurm import LocalJob
from sluiceway.core.environments.environment import EnvironmentFields
from sluiceway.core.errors import EnvironmentInvalid
from sluiceway.core.runs.request import RunRequest
from tests.conftest import User


class TestRuntimeEnvironment(BlockStandardTestSuite):
    """Prefect's promises of a block."""

    # It loads a picture from the internet; ours have none.
    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return RuntimeEnvironment


@pytest.fixture
def at_home(user: User) -> User:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    return user


def block(**fields: Any) -> RuntimeEnvironment:
    return RuntimeEnvironment.model_validate(fields)


def test_a_form_shows_every_field_with_what_it_is_for() -> None:
    shown = RuntimeEnvironment.model_json_schema()["properties"]
    fields = EnvironmentFields.model_fields
    assert {name: bool(shown[name].get("description")) for name in fields} == dict.fromkeys(fields, True)


def test_what_is_wrong_is_said_when_it_is_used() -> None:
    with pytest.raises(EnvironmentInvalid, match="needs one of project, requirements"):
        _ = block(kind="uv").environment
    with pytest.raises(ValidationError):
        block(kind="snake")


async def test_a_triggered_request_runs_in_it(at_home: User) -> None:
    runtime = await block(kind="path", path="/usr", variables={"WORD": "hello"}).look()
    run = await LocalJob().trigger(RunRequest(command=("sh", "-c", "echo $WORD"), runtime=runtime))
    assert (await run.fetch_result()).stdout.read_text() == "hello\n"


async def test_a_place_has_an_environment_for_what_names_none(at_home: User) -> None:
    (at_home.folder / "home").mkdir()
    at_home.write(
        "home/clusters.toml",
        '[environments.one]\nkind = "path"\npath = "/usr"\nvariables = { WORD = "one" }\n',
    )
    request = RunRequest(command=("sh", "-c", "echo $WORD"))
    run = await LocalJob(environment="one").trigger(request)
    receipt = await run.fetch_result()
    assert receipt.stdout.read_text() == "one\n"
    assert receipt.key != request.key


def test_prefect_finds_it_by_its_entry_point() -> None:
    (point,) = entry_points(group="prefect.collections", name="sluiceway-environments")
    assert point.load().RuntimeEnvironment is RuntimeEnvironment
