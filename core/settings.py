"""Every setting of sluiceway, in one class: environment variables named SLUICEWAY_*, or lines of .env.

Nothing else in sluiceway reads the environment. The few variables of other programs that matter to us are the class
Foreign below; further SLURM_* variables are read on nodes only, by the program that runs there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sluiceway.core.errors import SettingsInvalid


class Settings(BaseSettings):
    """What a user can set; every field has a default, so that a new user sets nothing."""

    model_config = SettingsConfigDict(env_prefix="SLUICEWAY_", env_file=".env", extra="ignore", frozen=True)

    home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("sluiceway"),
        description="Where runs, the store, the registry and clusters.toml live.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("sluiceway"),
        description="What can be made again: deleting this folder loses time, never results.",
    )
    output_dir: Path = Field(
        default=Path("data/output"),
        description="Where results go when --out is not given: a folder per verb below this one.",
    )
    memory: str | None = Field(
        default=None,
        description="How much memory a run of scores may take, such as 16G.",
    )
    catalog_api: str = Field(
        default="https://www.pgscatalog.org/rest",
        description="Where the PGS Catalog's REST interface is asked.",
    )
    catalog_files: str = Field(
        default="https://ftp.ebi.ac.uk/pub/databases/spot/pgs",
        description="Where the PGS Catalog's files are, as a mirror would have them.",
    )
    metadata_hub: str | None = Field(
        default=None,
        description="A data set on a hub that has the catalogue's cleaned metadata, such as somebody/pgs-catalog: "
        "asked before the PGS Catalog is, where none are on this machine.",
    )
    hub_endpoint: str = Field(
        default="https://huggingface.co",
        description="Where the hub of data sets is.",
    )
    hub_token: SecretStr | None = Field(
        default=None,
        description="A token for the hub: to publish, or to read what is not public.",
    )
    offline: bool = Field(
        default=False,
        description="Ask the PGS Catalog for nothing, and use what is on this machine.",
    )
    registry: SecretStr | None = Field(
        default=None,
        description="The registry's database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.",
    )
    store_dir: Path | None = Field(
        default=None,
        description="Where artifacts are kept, such as a folder that a group shares.",
    )
    store_group: str | None = Field(
        default=None,
        description="The Unix group whose members share the artifacts: each may add, and only read what others added.",
    )
    devcluster_dir: Path = Field(
        default=Path("/var/lib/sluiceway-devcluster"),
        description="The folder of `sluiceway devcluster`; the daemons' own users must be able to reach it.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="How much is told on the console.",
    )
    test_data: Path | None = Field(
        default=None,
        description="A folder of real genotypes and scores for the tests; without it those tests are left out.",
    )


class Foreign(BaseSettings):
    """Variables that belong to other programs and are read here; this is the whole list."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    prefect_api_url: str | None = Field(default=None, validation_alias=AliasChoices("PREFECT_API_URL"))
    dask_scheduler_address: str | None = Field(default=None, validation_alias=AliasChoices("DASK_SCHEDULER_ADDRESS"))
    slurm_job_id: str | None = Field(default=None, validation_alias=AliasChoices("SLURM_JOB_ID"))
    slurm_mem_per_node: int | None = Field(default=None, validation_alias=AliasChoices("SLURM_MEM_PER_NODE"))
    slurm_mem_per_cpu: int | None = Field(default=None, validation_alias=AliasChoices("SLURM_MEM_PER_CPU"))
    slurm_cpus_on_node: int | None = Field(default=None, validation_alias=AliasChoices("SLURM_CPUS_ON_NODE"))
    sudo_uid: int | None = Field(default=None, validation_alias=AliasChoices("SUDO_UID"))


def variable(name: str) -> str | None:
    """Give a variable that the user has named as the place of a secret; none where it is not set."""
    return os.environ.get(name)  # noqa: TID251 - this is the module that may


def leave_processors_to_us() -> None:
    """Let polars work in the thread that calls it, unless the user says otherwise; before its first import.

    Files and ranges are worked on at once, each in a thread of ours. More threads inside of each cost a tenth of the
    time of processors and gain nothing.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # noqa: TID251 - this is the module that may


def load() -> Settings:
    """Read the settings, or raise SettingsInvalid naming each one that cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        problems = tuple(
            f"SLUICEWAY_{'.'.join(str(part) for part in each['loc']).upper()}={each['input']!r}: {each['msg']}"
            for each in error.errors()
        )
        raise SettingsInvalid(problems=problems) from error
