"""A cluster's table is taken as it is meant, or refused with every reason; its secrets are seen by nobody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import ClusterInvalid, PlaceUnusable, ResourcesInvalid
from sluiceway.core.runs.clusters import ClusterSettings, cluster_in_file, cluster_of
from sluiceway.core.slurm.resources import Resources
from tests.conftest import User

WHOLE = """
[clusters.west]
host = "login.west.example.org"
port = 2222
user = "ada"
keys = ["~/.ssh/id_ed25519"]
password = { env = "WEST_PASSWORD" }
jumps = [{ host = "gate.example.org", user = "ada", passphrase = { file = "phrase" } }]
base = "/scratch/ada/sluiceway"
longest_poll_seconds = 30

[clusters.west.resources]
partition = "long"
account = "genetics"
extra_sbatch = { mail-type = "FAIL" }
"""


def test_a_cluster_is_all_that_its_table_says(user: User) -> None:
    user.export("WEST_PASSWORD", "open sesame")
    user.write("phrase", "let me in\n")
    user.write("clusters.toml", WHOLE)
    west = cluster_in_file("west", user.folder / "clusters.toml")
    way = west.way
    assert way is not None
    assert [each.machine for each in way.chain] == ["ada@gate.example.org", "ada@login.west.example.org:2222"]
    assert way.password is not None
    assert way.password.get_secret_value() == "open sesame"
    assert way.via is not None
    assert way.via.passphrase is not None
    assert way.via.passphrase.get_secret_value() == "let me in"
    assert way.keys == (Path("~/.ssh/id_ed25519").expanduser(),)
    assert west.pace.longest == timedelta(seconds=30)
    assert west.resources.options == ("--partition=long", "--account=genetics", "--mail-type=FAIL")


@pytest.mark.parametrize("shown", [str, repr, lambda each: each.model_dump_json(), lambda each: repr(each.way)])
def test_a_secret_is_in_nothing_that_is_shown(user: User, shown: object) -> None:
    user.export("WEST_PASSWORD", "open sesame")
    west = cluster_of("west", {"host": "west", "password": {"env": "WEST_PASSWORD"}}, where="here")
    assert callable(shown)
    assert "sesame" not in shown(west)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hots": "west"}, r"hots: there is no such field \(did you mean 'host'\?\)"),
        ({"jumps": [{"host": "gate", "usr": "ada"}]}, r"jumps\.0\.usr: .*did you mean 'user'"),
        ({"jumps": [{"user": "ada"}]}, r"jumps\.0\.host: Field required"),
        ({"port": 0}, "port: Input should be greater"),
        ({"port": "x", "base": 7}, r"port: .*; base: "),
        ({"password": "open sesame"}, r"password: write where it is, \{ env"),
        ({"password": {"env": "NO_SUCH"}}, "the variable NO_SUCH is not set"),
        ({"password": {"file": "/no/such"}}, "No such file"),
        ({"jumps": [{"host": "gate", "password": "open sesame"}]}, "password: write where it is"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ClusterInvalid, match=said) as raised:
        cluster_of("west", fields, where="here")
    assert "sesame" not in str(raised.value)


def test_what_slurm_would_not_know_is_refused_before_anything_runs() -> None:
    with pytest.raises(ResourcesInvalid, match="did you mean 'partition'"):
        cluster_of("west", {"resources": {"partion": "long"}}, where="here")


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (WHOLE, "wset", r"did you mean 'west'\?"),
        ("", "west", "no cluster of this name is in"),
        (None, "west", "no cluster of this name is in"),
    ],
)
def test_a_cluster_that_nobody_knows_is_no_place(user: User, text: str | None, name: str, said: str) -> None:
    if text is not None:
        user.write("clusters.toml", text)
    with pytest.raises(PlaceUnusable, match=said):
        cluster_in_file(name, user.folder / "clusters.toml")


@pytest.mark.parametrize(
    ("text", "said"), [("[clusters", "Expected"), ("[cluster.west]", r"cluster: .*did you mean 'clusters'")]
)
def test_a_file_that_is_no_list_of_clusters_is_refused(user: User, text: str, said: str) -> None:
    user.write("clusters.toml", text)
    with pytest.raises(ClusterInvalid, match=said):
        cluster_in_file("west", user.folder / "clusters.toml")


@pytest.mark.parametrize(
    ("wish", "options"),
    [
        ({}, ("--cpus-per-task=2", "--mem-per-cpu=2048M", "--partition=long", "--mail-type=END")),
        ({"cpus": 4}, ("--cpus-per-task=4", "--mem-per-cpu=2048M", "--partition=long", "--mail-type=END")),
        ({"memory": "9G"}, ("--cpus-per-task=2", "--mem=9216M", "--partition=long", "--mail-type=END")),
        (
            {"extra_sbatch": {"nice": 5}},
            ("--cpus-per-task=2", "--mem-per-cpu=2048M", "--partition=long", "--mail-type=END", "--nice=5"),
        ),
    ],
)
def test_a_wish_wins_over_what_is_usual(wish: dict[str, object], options: tuple[str, ...]) -> None:
    usual = Resources(cpus=2, memory_per_cpu="2G", partition="long", extra_sbatch={"mail-type": "END"})
    assert ClusterSettings(resources=usual).resources_for(Resources.model_validate(wish)).options == options
