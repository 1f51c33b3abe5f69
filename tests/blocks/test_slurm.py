"""The blocks of clusters and of this machine: Prefect's own suite, their fields, and the run that they trigger."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from sluiceway.blocks.slurm import LocalJob, SlurmJob
from sluiceway.core.errors import RunFailed
from sluiceway.core.runs.request import Content, RunRequest
from sluiceway.core.slurm.resources import Resources
from tests.conftest import User


class TestSlurmJob(BlockStandardTestSuite):
    """Prefect's promises of a block."""

    # It loads a picture from the internet; ours have none.
    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return SlurmJob


class TestLocalJob(BlockStandardTestSuite):
    """Prefect's promises of its twin."""

    # It loads a picture from the internet; ours have none.
    test_has_a_valid_image = None  # type: ignore[assignment]

    @pytest.fixture
    def block(self) -> type[Block]:
        return LocalJob


SECRET = SecretStr("open sesame")


def test_a_blocks_fields_are_a_clusters() -> None:
    jump = {"host": "gate", "keys": ["/keys/gate"]}
    block = SlurmJob.model_validate({"host": "west", "user": "ada", "jumps": [jump], "resources": {"cpus": 2}})
    way = block.settings.way
    assert way is not None
    assert [each.machine for each in way.chain] == ["gate", "ada@west"]
    assert block.settings.resources == Resources(cpus=2)


@pytest.mark.parametrize(
    "shown", [str, repr, lambda block: block.model_dump_json(), lambda block: repr(block.settings)]
)
def test_a_secret_is_in_nothing_that_is_shown(shown: object) -> None:
    assert callable(shown)
    assert "sesame" not in shown(SlurmJob(host="west", password=SECRET, passphrase=SECRET))


def test_prefect_is_told_which_fields_are_secret() -> None:
    secret = SlurmJob.model_json_schema()["secret_fields"]
    assert {"password", "passphrase"} <= set(secret)


def test_a_secret_that_prefect_would_show_is_refused() -> None:
    """Red on: blocks/slurm.py: `if any(each.password or each.passphrase for each in jumps):` -> `if False:`."""
    with pytest.raises(ValidationError, match="not those inside of lists") as raised:
        SlurmJob.model_validate({"host": "west", "jumps": [{"host": "gate", "password": "open sesame"}]})
    assert "sesame" not in str(raised.value)


def test_a_field_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(ValidationError, match="hots"):
        SlurmJob.model_validate({"hots": "west"})


def test_prefect_finds_the_blocks_by_the_entry_point() -> None:
    (point,) = entry_points(group="prefect.collections", name="sluiceway")
    blocks = [each for each in vars(point.load()).values() if Block.is_block_class(each)]
    assert [each.__name__ for each in blocks] == ["SlurmJob", "LocalJob"]


@pytest.fixture
def script(user: User) -> Path:
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.write("script.sh", 'echo "$1" >made.txt; exit "$2"')
    return user.folder / "script.sh"


def request(script: Path, *arguments: str) -> RunRequest:
    return RunRequest(script=Content.of(script, what="the script"), arguments=arguments, outputs=("made.txt",))


async def test_what_a_block_triggers_is_waited_for_and_gives_its_receipt(script: Path) -> None:
    run = await LocalJob().trigger(request(script, "here", "0"))
    await run.wait_for_completion()
    receipt = await run.fetch_result()
    assert receipt.path(receipt.outputs[0]).read_text() == "here\n"
    again = await LocalJob().trigger(request(script, "here", "0"))
    assert (await again.fetch_result()).job_id == again.job_id == receipt.job_id


async def test_a_run_that_failed_has_no_result(script: Path) -> None:
    run = await LocalJob().trigger(request(script, "here", "3"))
    with pytest.raises(RunFailed, match="exit code 3"):
        await run.fetch_result()


async def test_a_triggered_run_can_be_cancelled(script: Path) -> None:
    run = await LocalJob(command=("sleep", "60")).trigger()
    await run.cancel()
    with pytest.raises(RunFailed, match="cancelled"):
        await run.fetch_result()
