"""A cluster's block in a Prefect server: saved with its secrets, loaded as it was, found by the name of a place."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from sluiceway.blocks.slurm import SlurmJob, cluster_of_block
from sluiceway.core.errors import PlaceUnusable
from sluiceway.core.slurm.resources import Resources

if TYPE_CHECKING:
    from tests.conftest import User

FIELDS: dict[str, Any] = {
    "host": "west",
    "port": 2222,
    "password": SecretStr("open sesame"),
    "passphrase": SecretStr("let me in"),
    "jumps": [{"host": "gate"}],
    "resources": Resources(partition="long", memory="2G", time="1h", extra_sbatch={"nice": 5}),
}


async def test_a_saved_block_is_a_place_by_its_name() -> None:
    block = SlurmJob.model_validate(FIELDS)
    await block.asave("west", overwrite=True)
    found = await cluster_of_block("west")
    assert found == block.settings
    loaded: SlurmJob = await SlurmJob.aload("west")
    assert loaded.place.name == "west"


async def test_the_server_gives_a_blocks_secrets_to_nobody_who_does_not_ask_for_them() -> None:
    await SlurmJob.model_validate(FIELDS).asave("secret", overwrite=True)
    async with get_client() as client:
        document = await client.read_block_document_by_name("secret", "slurm-job", include_secrets=False)
    assert "sesame" not in str(document.data)
    assert "let me" not in str(document.data)


def test_prefect_registers_the_blocks_of_the_module() -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "block", "register", "-m", "sluiceway.blocks.slurm"]
    env = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "COLUMNS": "200"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Successfully registered 2 blocks" in done.stdout


async def test_a_name_that_is_no_block_is_looked_for_in_the_file(user: User) -> None:
    user.export("SLUICEWAY_HOME", str(user.folder))
    user.write("clusters.toml", '[clusters.east]\nhost = "login.east"\n')
    assert (await cluster_of_block("east")).host == "login.east"
    with pytest.raises(PlaceUnusable, match=r"no block slurm-job/north, and no cluster of this name"):
        await cluster_of_block("north")
