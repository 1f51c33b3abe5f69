"""What may be asked of Slurm, and what is refused before Slurm could misread it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sluiceway.core.errors import ResourcesInvalid
from sluiceway.core.slurm.resources import Memory, Resources, format_walltime, parse_walltime


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("16G", 16384), ("16 GiB", 16384), ("500mb", 500), ("1.5G", 1536), ("1K", 1), ("2T", 2 << 20)],
)
def test_memory_is_read_with_its_unit(text: str, mebibytes: int) -> None:
    assert Memory.parse(text) == Memory(mebibytes)


@pytest.mark.parametrize("text", ["16", 16, "16 apples", "", "-1G", "16Gx", None])
def test_memory_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ResourcesInvalid, match="with a unit"):
        Memory.parse(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(hours=36)),
        ("90m", timedelta(minutes=90)),
        ("30s", timedelta(seconds=30)),
        ("1-12:00:00", timedelta(hours=36)),
        ("02:30:00", timedelta(minutes=150)),
        (timedelta(minutes=5), timedelta(minutes=5)),
    ],
)
def test_a_time_limit_is_read(text: object, limit: timedelta) -> None:
    assert parse_walltime(text) == limit
    assert parse_walltime(format_walltime(limit)) == limit


@pytest.mark.parametrize("text", ["90", 90, "2:30", "soon", "", "0h", timedelta(0), timedelta(-1)])
def test_a_time_limit_that_could_mean_two_things_is_refused(text: object) -> None:
    with pytest.raises(ResourcesInvalid, match="with its units"):
        parse_walltime(text)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"nodes": 2, "tasks_per_node": 3}, ("--nodes=2", "--ntasks-per-node=3")),
        ({"cpus": 4, "memory_per_cpu": "2G"}, ("--cpus-per-task=4", "--mem-per-cpu=2048M")),
        ({"gpus": 2}, ("--gpus=2",)),
        ({"gpus": "a100:2"}, ("--gpus=a100:2",)),
        ({"memory": "0"}, ("--mem=0",)),
        ({"exclusive": True}, ("--exclusive",)),
        ({"exclusive": "user"}, ("--exclusive=user",)),
        ({"constraint": "[rack1*2&rack2*4]"}, ("--constraint=[rack1*2&rack2*4]",)),
        (
            {"extra_sbatch": {"mail-type": "END", "nice": 0, "spread-job": True}},
            ("--mail-type=END", "--nice=0", "--spread-job"),
        ),
    ],
)
def test_resources_are_options_of_sbatch(given: dict[str, Any], options: tuple[str, ...]) -> None:
    assert Resources(**given).options == options


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"memroy": "1G"}, "did you mean 'memory'"),
        ({"mem": "1G"}, "did you mean 'memory'"),
        ({"cpus_per_task": 1}, "did you mean 'cpus'"),
        ({"ntasks-per-node": 1}, "did you mean 'tasks_per_node'"),
        ({"mail_type": "END"}, "goes into extra_sbatch"),
        ({"memory": "1G", "memory_per_cpu": "1G"}, "one of the two"),
        ({"partition": "a\nb"}, "one line"),
        ({"partition": ""}, "one line"),
        ({"extra_sbatch": {"job-name": "x"}}, "found again"),
        ({"extra_sbatch": {"job-n": "x"}}, "found again"),
        ({"extra_sbatch": {"array": "1"}}, "found again"),
        ({"extra_sbatch": {"mem": "1G"}}, "say memory instead"),
        ({"extra_sbatch": {"partition": "x"}}, "say partition instead"),
        ({"extra_sbatch": {"-J": "x"}}, "long name"),
        ({"extra_sbatch": {"mail-user": "a\n#SBATCH --hold"}}, "one line"),
    ],
)
def test_what_slurm_would_drop_or_misread_is_refused_with_a_hint(given: dict[str, Any], hint: str) -> None:
    with pytest.raises(ResourcesInvalid, match=hint):
        Resources(**given)


def test_resources_survive_json() -> None:
    wish = Resources(cpus=2, memory="3G", time="2h", gpus=1, exclusive="user", extra_sbatch={"nice": 3})
    assert Resources.model_validate_json(wish.model_dump_json()) == wish
