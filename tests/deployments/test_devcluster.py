"""What a devcluster's parts decide, without starting anything."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from sluiceway.core.errors import DaemonFailed, FolderUnusable, PackagesMissing, RootNeeded
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import NO_LIMIT, Command, Completed
from sluiceway.deployments.devcluster import claims, configuration, daemons, machine
from sluiceway.deployments.devcluster.choose import Wish, plan_for
from sluiceway.deployments.devcluster.plan import Plan, Ports, Tracker, nodes, require_usable, stored
from sluiceway.deployments.devcluster.supervisor import Supervisor
from tests.clocks import SteppedClock

PLAN = Plan(
    name="dev",
    root=Path("/var/lib/x"),
    host="host",
    tracker=Tracker.CGROUP_V1_FREEZER,
    ports=Ports(controller=21000, accounting=21001, login=21002, jump=21003),
    nodes=nodes("dev", count=4, first_port=21004),
)


def settings_of(text: str) -> dict[str, str]:
    """The `Name=value` lines of a Slurm configuration."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SlurmctldHost", "host(127.0.0.1)"),
        ("AccountingStoragePass", "/var/lib/x/run/munge/socket"),
        ("AuthInfo", "socket=/var/lib/x/run/munge/socket,cred_expire=5"),
        ("MaxArraySize", "101"),
        ("ProctrackType", "proctrack/cgroup"),
        ("SlurmdPidFile", "/var/lib/x/run/root/slurmd-%n.pid"),
    ],
)
def test_slurm_conf_says(setting: str, value: str) -> None:
    assert settings_of(configuration.slurm(PLAN))[setting] == value


def test_without_a_freezer_no_control_group_is_touched() -> None:
    plain = PLAN.model_copy(update={"tracker": Tracker.PLAIN})
    assert settings_of(configuration.slurm(plain))["ProctrackType"] == "proctrack/linuxproc"
    assert "CgroupMountpoint" not in configuration.cgroup(plain)
    assert "plain process tracker" in plain.summary


def test_three_partitions_preempt_as_they_are_named() -> None:
    lines = [line for line in configuration.slurm(PLAN).splitlines() if line.startswith("PartitionName=")]
    modes = {line.split()[0].partition("=")[2]: line.rpartition("PreemptMode=")[2] for line in lines[1:]}
    assert modes == {"normal": "OFF", "low": "REQUEUE", "lowcancel": "CANCEL"}


def test_only_the_last_node_has_gpus_and_each_is_a_device_file() -> None:
    assert [node.gpus for node in PLAN.nodes] == [0, 0, 0, 2]
    assert configuration.gpus(PLAN) == "NodeName=dev4 Name=gpu File=/var/lib/x/dev/gpu[0-1]\n"


@pytest.mark.parametrize(
    "daemon", [each for level in daemons.levels(PLAN) for each in level], ids=lambda each: each.name
)
def test_a_daemon_keeps_its_files_below_the_root(daemon: daemons.Daemon) -> None:
    assert daemon.pid_file.is_relative_to(PLAN.root)
    assert daemon.log.is_relative_to(PLAN.root)


def test_every_port_is_used_once() -> None:
    ports = [daemon.port for level in daemons.levels(PLAN) for daemon in level if daemon.port]
    assert sorted(ports) == list(range(21000, 21008))


def test_the_client_verifies_host_keys_and_offers_one_key() -> None:
    text = configuration.client(PLAN)
    assert "StrictHostKeyChecking yes" in text
    assert "IdentitiesOnly yes" in text
    keys = {"login": "ssh-ed25519 AAAA comment", "jump": "ssh-ed25519 BBBB comment"}
    assert configuration.known_hosts(PLAN, public_keys=keys).splitlines() == [
        "[127.0.0.1]:21002 ssh-ed25519 AAAA",
        "[127.0.0.1]:21003 ssh-ed25519 BBBB",
    ]


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("relative", "must be absolute"),
        ("/var/lib/with space", "letters, digits"),
        ("/var/lib/$(id)", "letters, digits"),
        ("/var/lib/" + "x" * 80, "sockets need short ones"),
        ("/etc/passwd", "not a folder"),
        ("/etc", "not empty"),
    ],
)
def test_a_folder_that_cannot_hold_a_cluster_is_refused(root: str, reason: str) -> None:
    with pytest.raises(FolderUnusable, match=reason):
        require_usable(Path(root))


def test_a_plan_is_kept_and_read_back(tmp_path: Path) -> None:
    assert stored(tmp_path) is None
    (tmp_path / "cluster.json").write_text(PLAN.model_dump_json())
    assert stored(tmp_path) == PLAN
    require_usable(tmp_path)


@pytest.mark.parametrize("name", ["", "Dev", "1st", "a-b", "x" * 13])
def test_a_name_that_no_user_or_node_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Plan(**{**PLAN.model_dump(), "name": name})


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        assert not machine.is_free(held.getsockname()[1])


def test_free_ports_come_in_a_row() -> None:
    first = machine.free_ports(8)
    assert all(machine.is_free(port) for port in range(first, first + 8))


def test_what_another_cluster_has_claimed_is_not_free_while_there_is_one(tmp_path: Path) -> None:
    file, theirs = tmp_path / "claims", tmp_path / "theirs"
    claim = claims.Claim(first=21000, count=8, process=os.getpid(), root=theirs)
    with claims.opened(theirs, file=file) as opened:
        opened.add(claim)
    with claims.opened(tmp_path / "mine", file=file) as opened:
        assert [opened.holder(port) for port in (20999, 21000, 21007, 21008)] == [None, theirs, theirs, None]
    with claims.opened(theirs, file=file) as opened:
        assert opened.holder(21000) is None
        opened.add(dataclasses.replace(claim, process=999_999_999))
    with claims.opened(tmp_path / "mine", file=file) as opened:
        assert opened.others == ()


def test_one_cluster_at_a_time_claims_ports(tmp_path: Path) -> None:
    file = tmp_path / "claims"
    with claims.opened(tmp_path / "mine", file=file), file.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_daemon_that_ends_before_it_is_ready_is_named_at_once() -> None:
    slurmd = daemons.slurmd(PLAN, PLAN.nodes[0])
    ended = dataclasses.replace(slurmd, start=Command.of("true"), ready=Command.of("false"), port=None)
    clock = SteppedClock()
    with pytest.raises(DaemonFailed, match="slurmd-dev1 did not stay up: it ended before it was ready"):
        await Supervisor(shell=LocalShell(), clock=clock).start(ended)
    assert sum(clock.slept, timedelta()) < timedelta(seconds=1)


@pytest.mark.parametrize("content", ["", "not a number", "999999999"])
def test_a_process_id_that_means_nothing_is_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    assert machine.running_id(tmp_path / "pid", mark="") is None


def test_a_process_of_another_program_under_the_same_id_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert machine.running_id(tmp_path / "pid", mark="no-such-daemon") is None


def test_the_packages_are_those_of_the_cluster_tier() -> None:
    listed = machine.packages()
    assert {"munge", "slurmctld", "slurmd", "slurmdbd", "mariadb-server", "openssh-server"} <= set(listed)


class Dpkg(LocalShell):
    """A machine on which only these packages are installed."""

    def __init__(self, *installed: str) -> None:
        self.installed = installed

    async def run(self, command: Command, *, timeout: timedelta = NO_LIMIT) -> Completed:
        asked = [package for package in command.argv[4:] if package in self.installed]
        known = "".join(f"{package} install ok installed\n" for package in asked) + "munge deinstall ok config-files\n"
        return Completed(
            machine="m", command=command, exit_code=1, signal=None, stdout=known.encode(), stderr=b"no such package"
        )


async def test_each_missing_package_is_named_with_the_command_that_installs_it() -> None:
    there = [package for package in machine.packages() if package not in ("slurmd", "munge")]
    with pytest.raises(PackagesMissing, match=r"apt-get install --no-install-recommends munge slurmd$"):
        await machine.require_packages(Dpkg(*there))
    await machine.require_packages(Dpkg(*machine.packages()))


async def test_without_root_up_says_why_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RootNeeded, match=r"starting a devcluster needs root.*sudo"):
        await plan_for(Wish(root=tmp_path))


def test_a_plan_is_plain_json() -> None:
    assert json.loads(PLAN.model_dump_json())["tracker"] == "cgroup"
