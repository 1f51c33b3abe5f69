"""Makes what a devcluster needs before its daemons start: folders, user, keys, GPU devices and configuration files."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.remote.local import staged_beside
from sluiceway.core.remote.shell import Command
from sluiceway.deployments.devcluster import configuration, machine

if TYPE_CHECKING:
    from sluiceway.core.remote.shell import Shell
    from sluiceway.deployments.devcluster.plan import Plan

_SSHD_NAMES = ("login", "jump")
_NULL_DEVICE = os.makedev(1, 3)


async def prepare(plan: Plan, shell: Shell) -> None:
    """Make everything that is not there yet; what is there stays as it is."""
    _make_folders(plan)
    await _make_user(plan, shell)
    await _make_keys(plan, shell)
    _make_gpus(plan)
    _write_configuration(plan)
    _hand_over_client_files(plan)


def _make_folders(plan: Plan) -> None:
    folder = plan.folder
    for path in (folder.configuration, folder.running, folder.logs, folder.state, folder.devices):
        path.mkdir(exist_ok=True)
    for owner in ("munge", "mysql", "slurm", "root"):
        for parent in (folder.running, folder.logs, folder.state):
            _own(parent / owner, owner)
    _own(folder.state / "nodes", "root")


def _own(path: Path, owner: str, *, mode: int = 0o755) -> None:
    """Make a folder and give it away; once it is somebody's, root leaves it alone."""
    if not path.exists():
        path.mkdir(mode=mode)
        shutil.chown(path, owner, owner)


async def _make_user(plan: Plan, shell: Shell) -> None:
    folder = plan.folder
    if machine.home_of(plan.user) is None:
        # "*" is a password that never matches; the "!" that useradd would set means locked, and sshd refuses that.
        made = ("useradd", "--no-create-home", f"--home-dir={folder.home}", "--shell=/bin/bash", "--password=*")
        (await shell.run(Command.of(*made, plan.user))).require_success()
    _own(folder.home, plan.user, mode=0o700)


async def _make_keys(plan: Plan, shell: Shell) -> None:
    folder = plan.folder
    munge_key = folder.state / "munge" / "key"
    if not munge_key.exists():
        with staged_beside(munge_key) as staged:
            staged.write_bytes(os.urandom(1024))
            staged.chmod(0o400)
            shutil.chown(staged, "munge", "munge")
    folder.client.mkdir(exist_ok=True, mode=0o755)
    for path in (folder.key, *map(folder.host_key, _SSHD_NAMES)):
        if not path.exists():
            made = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", plan.name, "-f", str(path))
            (await shell.run(Command.of(*made))).require_success()
    folder.authorized_keys.write_text(_public(folder.key))


def _public(key: Path) -> str:
    return key.with_name(f"{key.name}.pub").read_text()


def _make_gpus(plan: Plan) -> None:
    for number in range(max((node.gpus for node in plan.nodes), default=0)):
        device = plan.folder.devices / f"gpu{number}"
        if not device.exists():
            os.mknod(device, stat.S_IFCHR | 0o666, _NULL_DEVICE)
            device.chmod(0o666)


def _write_configuration(plan: Plan) -> None:
    for path, text in configuration.files(plan, machine_hosts=Path("/etc/hosts").read_text()).items():
        path.write_text(text)
    # slurmdbd refuses to start from a file that others can read.
    accounting = plan.folder.configuration / "slurmdbd.conf"
    accounting.chmod(0o600)
    shutil.chown(accounting, "slurm", "slurm")


def _hand_over_client_files(plan: Plan) -> None:
    folder = plan.folder
    keys = {name: _public(folder.host_key(name)) for name in _SSHD_NAMES}
    folder.ssh_config.write_text(configuration.client(plan))
    folder.known_hosts.write_text(configuration.known_hosts(plan, public_keys=keys))
    for path in (folder.client, folder.ssh_config, folder.known_hosts, folder.key):
        os.chown(path, machine.person(), -1, follow_symlinks=False)
