"""Environments on the real Slurm: shipped once, for the nodes' architecture, and used by jobs without a network."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import struct
import subprocess
import sys
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluiceway.core.environments import provision
from sluiceway.core.environments.container import reference_of
from sluiceway.core.environments.entering import SESSIONS
from sluiceway.core.environments.environment import Container, environment_of
from sluiceway.core.environments.runtime import Runtime, runtime_of
from sluiceway.core.environments.uses import BATCHES, DASK
from sluiceway.core.errors import EnvironmentUnusable
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import run
from sluiceway.core.runs.host import Attempt
from sluiceway.core.runs.hosts import host_at, runs_here
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest, inputs_of
from sluiceway.core.runs.sessions import session_at, uses_at
from sluiceway.core.slurm.resources import Resources
from sluiceway.tasks.slurm import slurm_task
from tests.cluster.test_runs import PLACE, There, there
from tests.conftest import ROOT, Missing, User
from tests.core.environments.made import requirements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.remote.ssh import SshShell

__all__ = ["there"]

PYTHON = "/usr/bin/python3"
SHOW = "import greeting, sys; print(greeting.WORD, sys.prefix)"
# What a rootless podman needs where neither cgroups nor limits are its to set.
RUN = ("--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
BUILD = ("--isolation=chroot", "--ulimit=nofile=1024:1024")


@pytest.fixture(autouse=True)
def uv(there: There, user: User) -> None:
    """A cache of this test alone, and uv on PATH."""
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    user.export("UV_CACHE_DIR", str(user.folder / "uv"))
    user.export("PATH", f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}")


async def runtime(**fields: Any) -> Runtime:
    return await runtime_of(environment_of("mine", fields, where="a test"))


async def packages(there: There) -> Runtime:
    """An environment that no other test has."""
    text = f"WORD = 'shipped'  # {secrets.token_hex(8)}\n"
    file = requirements(there.folder, text)
    file.write_text(f"{file.read_text()}# {secrets.token_hex(8)}\n")
    return await runtime(kind="uv", requirements=file, python=PYTHON)


async def ran(there: There, made: Runtime, *words: str, **asked: Any) -> RunReceipt:
    receipt = await there.run(RunRequest(command=words, runtime=made, parameters={"of": secrets.token_hex(8)}, **asked))
    assert receipt.succeeded, receipt.stderr.read_text()
    return receipt


async def entries(there: There) -> list[dict[str, Any]]:
    return await provision.cache_at(await there.access()).entries()


async def test_a_job_without_a_network_runs_in_what_was_shipped_once_or_anew_where_it_was_damaged(
    there: There, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Red on: core/environments/keeper.py: `why = None if sealed is None else entry.damage(sealed)` -> `why = None`."""
    caplog.set_level(logging.INFO, "sluiceway")
    made = await packages(there)
    cut_off = ("unshare", "--map-root-user", "--net", "python", "-c", SHOW)

    async def shipped() -> int:
        caplog.clear()
        word, prefix = (await ran(there, made, *cut_off)).stdout.read_text().split()
        assert word == "shipped"
        assert "/base/environments/" in prefix
        return [each.getMessage().partition(" name=")[0] for each in caplog.records].count("environment shipped")

    assert [await shipped(), await shipped()] == [1, 0]
    (entry,) = await entries(there)
    assert (entry["name"], entry["standing"]) == ("mine", "ok")
    (archive,) = (user.folder / "cache" / "built").glob("*/archive.*")
    assert archive.read_bytes().startswith(b"\x28\xb5\x2f\xfd"), "both sides have zstd"
    (module,) = Path(entry["tree"]).rglob("greeting.py")
    module.write_text("")
    assert await shipped() == 1
    (aside,) = (Path(entry["tree"]).parent / "damaged").iterdir()
    assert "greeting.py was changed" in (aside / "why.txt").read_text()
    assert [each["standing"] for each in await entries(there)] == ["ok"]


@pytest.mark.nightly
async def test_wheels_are_installed_there_and_used_without_any_network(
    there: There, user: User, missing: Missing
) -> None:
    """All Python there is cut off: what installs on the login node, and what runs in the job."""
    if not (shutil.which("pip3") or shutil.which("pip")):
        missing.part("environments", why="pip is not here, which gathers them", get="make test, as root or with sudo")
    folder = (await there.access()).base.parent
    cut_off = folder / "cut-off"
    await there.shell.write(cut_off, f'#!/bin/sh\nexec unshare --map-root-user --net {PYTHON} "$@"\n'.encode())
    await there.shell.run(Command.of("chmod", "755", str(cut_off)))
    known = (there.folder / "home" / "clusters.toml").read_text()
    user.write("home/clusters.toml", known.replace(f'python = "{PYTHON}"', f'python = "{cut_off}"'))
    file = requirements(there.folder, f"WORD = 'shipped'  # {secrets.token_hex(8)}\n")
    made = await runtime(kind="uv", requirements=file, python=PYTHON, ship="wheels")
    tried = "import os, socket; print(socket.if_nameindex())"
    word, prefix, *network = (await ran(there, made, "python", "-c", f"{SHOW}; {tried}")).stdout.read_text().split()
    assert (word, " ".join(network)) == ("shipped", "[(1, 'lo')]")
    assert "/base/environments/" in prefix


async def test_two_homes_that_race_for_a_cold_environment_ship_it_once(there: There, user: User) -> None:
    """Each is a process with a home and a cache of its own, and builds what it does not find."""
    file = requirements(there.folder, f"WORD = 'shipped'  # {secrets.token_hex(8)}\n")
    file.write_text(f"{file.read_text()}# {secrets.token_hex(8)}\n")
    table = f'[environments.packages]\nkind = "uv"\nrequirements = "{file}"\npython = "{PYTHON}"\n'
    text = (there.folder / "home" / "clusters.toml").read_text() + table
    pushes = []
    for name in ("one", "two"):
        (there.folder / name).mkdir()
        (there.folder / name / "clusters.toml").write_text(text)
        own = {"SLUICEWAY_HOME": str(there.folder / name), "SLUICEWAY_CACHE_DIR": str(there.folder / name / "cache")}
        command = [str(Path(sys.executable).with_name("sluiceway")), "env", "push", "packages", "--on", PLACE.name]
        pushes.append(
            await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **own}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        )
    answers = await asyncio.gather(*(each.communicate() for each in pushes))
    assert [each.returncode for each in pushes] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert sum(b"environment shipped" in said for _, said in answers) == 1
    assert [each["standing"] for each in await entries(there)] == ["ok"]


async def test_a_job_that_finds_its_environment_gone_says_so_and_the_next_attempt_runs(there: There) -> None:
    made = await packages(there)
    tree = Path((await provision.at_cluster(made, await there.access(), None)).path[0]).parent
    request = RunRequest(command=("sh", "-c", "sleep 3; python -c '" + SHOW + "'"), runtime=made)
    attempt = await _staged(request)
    await there.shell.run(Command.of("sh", "-c", f"chmod -R u+w '{tree}' && rm -rf '{tree}' '{tree}.sealed'"))
    receipt = await _finished(there, attempt)
    assert (receipt.succeeded, receipt.exit_code) == (False, 78)
    assert "asked for again, the run brings it there anew" in receipt.stderr.read_text()
    again = await there.run(request)
    assert again.stdout.read_text().startswith("shipped ")


async def _staged(request: RunRequest) -> Attempt:
    runs = runs_here()
    async with host_at(PLACE, runs) as host:
        staged = await run.stage(request, runs=runs, host=host, place=PLACE)
    assert isinstance(staged, Attempt)
    return staged


async def _finished(there: There, attempt: Attempt) -> RunReceipt:
    runs = runs_here()
    async with host_at(PLACE, runs) as host:
        job = await run.submit(attempt, runs=runs, host=host)
        ending = await run.await_end(attempt, job, host=host)
        return await run.collect(attempt, ending, runs=runs, host=host)


async def test_what_is_for_another_architecture_than_the_nodes_never_becomes_a_job(there: There) -> None:
    tool = there.folder / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 183) + bytes(44))
    tool.chmod(0o755)
    with tarfile.open(there.folder / "packed.tar", "w") as archive:
        archive.add(tool.parent, arcname="bin")
    made = await runtime(kind="archive", archive=there.folder / "packed.tar")
    with pytest.raises(EnvironmentUnusable, match=r"programs for aarch64, .* asked for are x86_64"):
        await ran(there, made, "tool")


def as_root(*command: str) -> None:
    subprocess.run(command, check=True)


async def test_a_full_disk_there_is_said_and_nothing_is_left(there: There) -> None:
    access = await there.access()
    small = Path(access.base) / "environments"
    await there.shell.run(Command.of("mkdir", str(small)))
    (there.folder / "large").write_bytes(os.urandom(1 << 20))
    with tarfile.open(there.folder / "packed.tar", "w") as archive:
        archive.add(there.folder / "large", arcname="large")
    made = await runtime(kind="archive", archive=there.folder / "packed.tar")
    as_root("mount", "-t", "tmpfs", "-o", "size=300k,mode=0777", "none", str(small))
    try:
        with pytest.raises(EnvironmentUnusable, match="No space left on device: it takes"):
            await ran(there, made, "true")
        assert not [each for each in small.rglob("*") if each.is_file() and each.suffix != ".lock"]
    finally:
        as_root("umount", "-l", str(small))
    await ran(there, made, "true")


async def test_a_function_runs_in_an_environment(there: There, user: User) -> None:
    file = requirements(there.folder)
    table = f'[environments.packages]\nkind = "uv"\nrequirements = "{file}"\npython = "{PYTHON}"\n'
    user.write("home/clusters.toml", (there.folder / "home" / "clusters.toml").read_text() + table)

    @slurm_task(on=PLACE.name, env="packages")
    def word(of: int) -> str:
        import greeting  # type: ignore[import-not-found]  # noqa: PLC0415 - it is there, not here

        return f"{greeting.WORD} {of}"

    assert await asyncio.to_thread(word.fn, 1) == "shipped 1"
    answers = await asyncio.to_thread(word.each, [2, 3])
    assert [each.value() for each in answers] == ["shipped 2", "shipped 3"]


async def test_tasks_of_a_session_run_in_an_environment(there: There, user: User) -> None:
    file = requirements(there.folder)
    table = f'[environments.packages]\nkind = "uv"\nrequirements = "{file}"\npython = "{PYTHON}"\n'
    user.write("home/clusters.toml", (there.folder / "home" / "clusters.toml").read_text() + table)
    program = str(Path(sys.executable).with_name("sluiceway"))
    words = ["session", "--on", PLACE.name, "--env", "packages", "--ntasks", "4"]
    wish = ["--nodes", "2", "--cpus", "2", "--mem", "300M", "--time", "5m"]
    steps = [f"exec python -c '{SHOW}'", "exit 7"]
    made = await asyncio.to_thread(
        lambda: subprocess.run([program, *words, *wish, *steps], capture_output=True, text=True, check=False)
    )
    assert made.returncode == 1, made.stderr
    lines = made.stdout.splitlines()
    assert [each.partition(" ")[0] for each in lines] == ["shipped"] * 4, made.stderr
    assert [each for each in lines if "/base/environments/" not in each] == []
    assert "exit 7: exit code 7" in made.stderr


async def test_what_a_session_runs_in_stays_while_it_has_a_job_however_long_it_says_nothing(there: There) -> None:
    """Red on: core/runs/sessions.py: `for name in each.parts[-2:]` -> `for name in ()`."""
    access, wish = await there.access(), Resources(cpus=1, memory="300M", time="5m")
    left = [Path(access.base) / each / secrets.token_hex(8) for each in (DASK, BATCHES)]
    await there.shell.run(Command.of("mkdir", "-p", *map(str, left)))

    async def collected() -> list[str]:
        used, cache = await uses_at(access, there.folder / "home"), provision.cache_at(access)
        return list((await cache.tidy(used, older=timedelta(), most_bytes=None))["gone"])

    async with session_at(PLACE.name, wish, runtime=await packages(there)) as session:
        for each in (*(Path(access.base) / SESSIONS).rglob("*"), *left):
            os.utime(each, (0, 0))
        await collected()
        assert await collected() == []
        assert [each for each in left if each.exists()] == []
        assert (await session.run(Command.of("python", "-c", SHOW))).text.startswith("shipped ")
    async with asyncio.timeout(30):
        while not await collected():
            await asyncio.sleep(0.5)
    assert [*(Path(access.base) / SESSIONS).iterdir()] == []


async def test_modules_are_those_of_the_node(there: There, shell: SshShell, missing: Missing) -> None:
    if not Path("/etc/profile.d/modules.sh").exists():
        missing.part("modules", why="environment-modules is not installed", get="make test, as root or with sudo")
    made = await runtime(kind="modules", modules=["tool/12"])
    files = (await shell.run(Command.of("mktemp", "-d"))).text.strip()
    text = "#%Module1.0\nsetenv TOOL 12\nprepend-path PATH /opt/tool/bin\n"
    await shell.run(Command.of("sh", "-c", 'mkdir -p "$1/tool" && cat >"$1/tool/12"', "sh", files, stdin=text.encode()))
    shows = ("sh", "-c", 'echo "$TOOL ${PATH%%:*}"')
    receipt = await ran(there, made, *shows, environment={"MODULEPATH": files})
    assert receipt.stdout.read_text() == "12 /opt/tool/bin\n"


@pytest.fixture
def image(there: There, missing: Missing) -> Iterator[Path]:
    """The recipe of a small image."""
    if shutil.which("podman") is None or not Path("/bin/busybox").exists():
        missing.part("container", why="podman or busybox is not installed", get="make test, as root or with sudo")
    folder = there.folder / "box"
    folder.mkdir()
    shutil.copy("/bin/busybox", folder / "busybox")
    copies = "".join(f"COPY busybox /bin/{name}\n" for name in ("busybox", "sh", "cat", "printf", "id", "sleep"))
    (folder / "Containerfile").write_text(f"FROM scratch\n{copies}")
    yield folder / "Containerfile"
    kind = Container(containerfile=folder / "Containerfile", build_options=BUILD)
    as_root("podman", "rmi", "--force", reference_of(kind, name="mine"))


@pytest.mark.timeout(300)
async def test_a_job_runs_in_a_container_and_its_digest_is_recorded(there: There, image: Path) -> None:
    (there.folder / "code").mkdir()
    (there.folder / "code" / "word").write_text("own\n")
    fields = {"containerfile": image, "build_options": BUILD, "run_options": RUN, "source": there.folder / "code"}
    made = await runtime(kind="container", **fields)
    (there.folder / 'in, "put"').write_text("brought\n")
    hostile = 'it\'s $(id) "quoted"\n; exit 3'
    script = (
        'cat ../inputs/* "${PYTHONPATH%%:*}/word" && ! (: >"$SLUICEWAY_SOURCE/x") 2>/dev/null || exit 1\n'
        'printf "%s|%s" "$1" "$MINE" >out; test ! -e /usr'
    )
    receipt = await ran(
        there,
        made,
        "sh",
        "-c",
        script,
        "sh",
        hostile,
        inputs=inputs_of([there.folder / 'in, "put"']),
        outputs=("out",),
        environment={"MINE": hostile},
    )
    assert receipt.stdout.read_text() == "brought\nown\n"
    assert receipt.path(receipt.outputs[0]).read_text() == f"{hostile}|{hostile}"
    told = json.loads(receipt.manifest.read_text())["container"]
    assert told["runtime"] == "podman"
    assert told["digest"] == made.identity["image"]
    again = await runtime(kind="container", **fields)
    assert again.identity == made.identity
    assert again.recipe is not None
    assert again.recipe.image is not None
    assert not again.recipe.image.built


PODMAN = """
own=$(echo /tmp/sluiceway-$(id -u)-"$1"); export XDG_RUNTIME_DIR=$own/run
podman --root="$own/storage" --runroot="$own/run/containers" --tmpdir="$own/run/libpod" ps --all --quiet
"""


@pytest.mark.nightly
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["cancelled", "timeout", "killed", "heard"])
async def test_a_container_that_is_ended_is_not_left_behind_nor_in_the_way_of_the_next(
    there: There, image: Path, how: str
) -> None:
    """One that ignores TERM is killed with all that could remove it: the next one on the node does.

    Red on: core/environments/contained.py: `watched.sweep(client, locks)` -> `pass`.
    """
    made = await runtime(kind="container", containerfile=image, build_options=BUILD, run_options=RUN)
    node = (await there.shell.run(Command.of("sinfo", "--noheader", "--Node", "--format=%N"))).text.split()[0]
    wish = {"nodelist": node, "memory": "300M", "time": "1m"}

    def asked(script: str) -> RunRequest:
        given: dict[str, Any] = {"parameters": {"of": secrets.token_hex(8)}, "outputs": ("saved",)}
        return RunRequest(command=("sh", "-c", f": >saved; {script}"), runtime=made, **given)

    async def containers() -> str:
        # In a job: podman works on in what its first call has set up, and a login is no node.
        words = ("srun", "--quiet", f"--nodelist={node}", "--mem=200M", "sh", "-c", PODMAN, "sh", node)
        return (await there.shell.run(Command.of(*words))).require_success().text.strip()

    hears = {"killed": "trap '' TERM", "heard": "trap 'echo yes >saved; exit 5' TERM"}.get(how, ":")
    goes_on = "while :; do sleep 0.1; done" if how == "heard" else "sleep 600"
    running = asyncio.create_task(there.run(asked(f"{hears}; printf 'begun\\n'; {goes_on}"), **wish))
    await there.until("begun")
    if how != "timeout":
        await there.shell.run(Command.of("scancel", "--me"))
    receipt = await running
    assert str(receipt.ending) == ("timeout" if how == "timeout" else "cancelled"), receipt.why
    if how != "killed":
        assert await containers() == ""
    if how == "heard":
        assert receipt.path(receipt.outputs[0]).read_text() == "yes\n"
    assert (await there.run(asked("exit 0"), **wish)).succeeded
    assert await containers() == ""


@pytest.mark.nightly
@pytest.mark.timeout(300)
async def test_jobs_that_share_a_node_share_its_images(there: There, image: Path) -> None:
    made = await runtime(kind="container", containerfile=image, build_options=BUILD, run_options=RUN)
    runs = (ran(there, made, "sh", "-c", f"exit 0 # {number}") for number in range(4))
    assert all(each.succeeded for each in await asyncio.gather(*runs))
