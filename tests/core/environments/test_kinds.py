"""Each kind of environment, from its description to a run in it on this machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sluiceway.core.environments import provision
from sluiceway.core.environments.cache import EnvironmentCache
from sluiceway.core.environments.environment import environment_in_file, environment_of
from sluiceway.core.environments.runtime import Runtime, runtime_of, workshop_here
from sluiceway.core.errors import EnvironmentInvalid, EnvironmentUnusable
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.runs.request import RunRequest
from tests.conftest import ROOT, Missing, User
from tests.core.environments.made import Bench, project, recorded_uv, requirements, wheel
from tests.core.runs.here import Here

PYTHON = "/usr/bin/python3"
MAGIC = {"zst": b"\x28\xb5\x2f\xfd", "gz": b"\x1f\x8b"}


@pytest.fixture
def here(user: User, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A home and a cache of this test alone, and uv on PATH."""
    user.export("SLUICEWAY_HOME", str(user.folder / "home"))
    user.export("SLUICEWAY_CACHE_DIR", str(user.folder / "cache"))
    user.export("UV_CACHE_DIR", str(user.folder / "uv"))
    user.export("PATH", f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}")
    return Here(user.folder)


async def runtime(**fields: Any) -> Runtime:
    return await runtime_of(environment_of("mine", fields, where="a test"))


async def run(here: Here, made: Runtime, *words: str, **asked: Any) -> RunReceipt:
    return await here.run(RunRequest(command=words, runtime=made, **asked))


async def printed(here: Here, made: Runtime, *words: str, **asked: Any) -> str:
    receipt = await run(here, made, *words, **asked)
    assert receipt.succeeded, receipt.stderr.read_text()
    return receipt.stdout.read_text().strip()


def manifest(receipt: RunReceipt) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(receipt.manifest.read_text())
    return told


SHOW = "import greeting, sys; print(greeting.WORD, sys.prefix)"


@pytest.mark.parametrize("ship", ["venv", pytest.param("wheels", marks=pytest.mark.nightly)])
async def test_a_payload_runs_in_what_uv_installed(here: Here, ship: str, missing: Missing) -> None:
    if ship == "wheels" and not (shutil.which("pip3") or shutil.which("pip")):
        missing.part("environments", why="pip is not here, which gathers them", get="make test, as root or with sudo")
    made = await runtime(kind="uv", requirements=requirements(here.folder), python=PYTHON, ship=ship)
    receipt = await run(here, made, "python", "-c", SHOW)
    assert receipt.succeeded, receipt.stderr.read_text()
    word, prefix = receipt.stdout.read_text().split()
    assert word == "shipped"
    assert prefix.startswith(str(here.folder / "cache" / "environments"))
    told = manifest(receipt)
    assert told["environment"]["lock_digest"] == digest_of_file(here.folder / "requirements.txt")
    assert told["environment"]["python"] == made.identity["python"]
    assert told["parameters"]["runtime"]["name"] == "mine"


async def test_a_payload_runs_in_what_a_lock_says(here: Here) -> None:
    folder = project(here.folder / "project")
    made = await runtime(kind="uv", project=folder, python=PYTHON)
    assert (await printed(here, made, "python", "-c", SHOW)).startswith("shipped ")
    assert made.identity["lock"] == digest_of_file(folder / "uv.lock")


@pytest.mark.nightly
async def test_wheels_of_a_lock_are_installed_there_by_their_hashes(here: Here, user: User, missing: Missing) -> None:
    if not (shutil.which("pip3") or shutil.which("pip")):
        missing.part("environments", why="pip is not here, which gathers them", get="make test, as root or with sudo")
    folder = project(here.folder / "project")
    user.export("PIP_NO_INDEX", "1")
    user.export("PIP_FIND_LINKS", str(folder / "wheels"))
    made = await runtime(kind="uv", project=folder, python=PYTHON, ship="wheels")
    assert (await printed(here, made, "python", "-c", SHOW)).startswith("shipped ")


async def test_sluiceway_and_the_project_are_not_on_the_payloads_path(here: Here) -> None:
    made = await runtime(kind="uv", requirements=requirements(here.folder), python=PYTHON)
    tried = "import importlib.util as u; print(u.find_spec('sluiceway'), u.find_spec('mine'))"
    assert await printed(here, made, "python", "-c", tried) == "None None"


async def test_another_lock_is_another_run(here: Here) -> None:
    first = await runtime(kind="uv", requirements=requirements(here.folder), python=PYTHON)
    (here.folder / "requirements.txt").write_text((here.folder / "requirements.txt").read_text() + "# changed\n")
    second = await runtime(kind="uv", requirements=here.folder / "requirements.txt", python=PYTHON)
    keys = {RunRequest(command=("true",), runtime=each).key for each in (first, first, second)}
    assert len(keys) == 2
    assert RunRequest(command=("true",)).key not in keys


async def test_another_script_that_activates_is_another_run_in_the_same_files(here: Here) -> None:
    """Red on: core/environments/runtime.py: `{"activate": kind.activate} if kind.activate else {}` -> `{}`."""
    (here.folder / "packed.tar").write_bytes(bytes(10240))
    archive, path = {"kind": "archive", "archive": here.folder / "packed.tar"}, {"kind": "path", "path": "/usr"}
    for fields, without in ((archive, {"kind", "archive"}), (path, {"kind", "path"})):
        made = [await runtime(**fields, activate=each) for each in ("one.sh", "other.sh", "")]
        assert len({RunRequest(command=("true",), runtime=each).key for each in made}) == 3
        assert len({provision.parcel_key(each, "x86_64") for each in made}) == 1
        assert set(made[2].identity) == without


@pytest.mark.parametrize("place", ["folder", "git", "wheel"])
async def test_the_users_own_code_travels_as_it_is_and_is_identified(here: Here, place: str) -> None:
    source = here.folder / "source"
    if place == "wheel":
        source = wheel(here.folder, "mine", "WORD = 'own'")
    else:
        (source / "src").mkdir(parents=True)
        (source / "src" / "mine.py").write_text("WORD = 'committed'")
    if place == "git":
        git(source, "init", "-q")
        git(source, "add", ".")
        git(source, "commit", "-q", "-m", "one")
        git(source, "remote", "add", "origin", "https://me:secret@example.org/mine.git")
        (source / ".gitignore").write_text("data\n")
        (source / "data").write_text("large")
    if place != "wheel":
        (source / "src" / "mine.py").write_text("WORD = 'own'")
    made = await runtime(kind="path", path="/usr", source=source)
    shows = "import mine, os; print(mine.WORD, sorted(os.listdir(os.environ['SLUICEWAY_SOURCE'])))"
    receipt = await run(here, made, "python3", "-c", shows)
    assert receipt.succeeded, receipt.stderr.read_text()
    assert receipt.stdout.read_text().startswith("own ")
    assert "data" not in receipt.stdout.read_text()
    told = manifest(receipt)
    assert told["parameters"]["runtime"]["source"].startswith("sha256:")
    if place == "git":
        assert told["git"]["dirty"]
        assert told["git"]["head"] == git(source, "rev-parse", "HEAD")
        assert told["git"]["patch_digest"]
        assert told["git"]["remote"] == "https://example.org/mine.git"


async def test_a_changed_line_of_the_users_code_is_another_run(here: Here) -> None:
    (here.folder / "source").mkdir()
    keys = set()
    for text in ("A = 1", "A = 2", "A = 1"):
        (here.folder / "source" / "mine.py").write_text(text)
        made = await runtime(kind="path", path="/usr", source=here.folder / "source")
        keys.add(RunRequest(command=("true",), runtime=made).key)
    assert len(keys) == 2


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


async def test_a_payload_runs_in_an_archive_that_is_activated(here: Here) -> None:
    tree = here.folder / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "tool").write_text('#!/bin/sh\necho "$FROM $0"\n')
    (tree / "bin" / "tool").chmod(0o755)
    (tree / "activate.sh").write_text('[ $# = 0 ] || exit 1\nexport FROM="an archive"\n')
    with tarfile.open(here.folder / "packed.tar.gz", "w:gz") as archive:
        archive.add(tree, arcname=".")
    made = await runtime(kind="archive", archive=here.folder / "packed.tar.gz", activate="activate.sh")
    said = await printed(here, made, "tool")
    assert said.startswith("an archive ")
    assert str(here.folder / "cache" / "environments") in said


@pytest.mark.parametrize(("packer", "field"), [("pixi-pack", "pixi"), ("conda-pack", "conda")])
async def test_what_packs_is_called_where_it_is_on_path(here: Here, user: User, packer: str, field: str) -> None:
    """pixi-pack's program unpacks itself; both put a script beside what they unpack."""
    source = here.folder / "source"
    (source / "conda-meta").mkdir(parents=True)
    (source / "conda-meta" / "python-3.json").write_text("{}")
    (source / "pixi.lock").write_text("version: 6")
    (here.folder / "bin").mkdir()
    unpacks = 'mkdir -p "$2/bin" && echo \'export FROM=pixi\' >"$2/activate.sh"'
    packs = {
        "pixi-pack": f"cat >\"$3\" <<'END'\n#!/bin/sh\n{unpacks}\nEND",
        "conda-pack": 'mkdir -p t/bin && echo "export FROM=conda" >t/bin/activate && tar -czf "$2" -C t .',
    }
    tool = here.folder / "bin" / packer
    tool.write_text(f'#!/bin/sh\nprintf "%s " "$@" >"{here.folder}/called"\n{packs[packer]}\n')
    tool.chmod(0o755)
    user.export("PATH", f"{here.folder / 'bin'}:{os.environ['PATH']}")
    made = await runtime(kind="archive", **{field: source})
    assert await printed(here, made, "sh", "-c", "echo $FROM") == field
    assert str(source) in (here.folder / "called").read_text()


async def test_a_payload_runs_in_a_folder_that_is_there(here: Here) -> None:
    (here.folder / "there" / "bin").mkdir(parents=True)
    (here.folder / "there" / "bin" / "tool").symlink_to("/bin/echo")
    made = await runtime(kind="path", path=here.folder / "there", variables={"WORD": "set"})
    assert await printed(here, made, "tool", "found") == "found"
    assert await printed(here, made, "sh", "-c", "echo $WORD") == "set"


async def test_an_environment_that_goes_missing_is_said_by_the_run(here: Here) -> None:
    (here.folder / "there").mkdir()
    made = await runtime(kind="path", path=here.folder / "there")
    (here.folder / "there").rmdir()
    receipt = await run(here, made, "true")
    assert (receipt.succeeded, receipt.exit_code) == (False, 78)
    assert "is missing" in receipt.stderr.read_text()


async def test_what_ran_without_its_container_is_in_the_manifest(here: Here) -> None:
    made = await runtime(kind="container", image="mine:1", runtime="none")
    receipt = await run(here, made, "true")
    told = manifest(receipt)
    assert told["container"] == {"image": "mine:1", "digest": None, "runtime": "none"}
    assert any("outside of the container" in each for each in told["warnings"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "uv"}, "needs one of project, requirements"),
        ({"kind": "uv", "requirements": "a", "project": "b"}, "needs one of"),
        ({"kind": "modules", "modules": ["x"], "image": "y"}, "image: it belongs to another kind"),
        ({"kind": "conda"}, "kind: Input should be"),
        ({"kind": "path", "path": "/x", "colour": "red"}, "colour: Extra inputs"),
        ({"kind": "path", "path": "/x", "variables": {"SLUICEWAY_HOME": "x"}}, "variables.SLUICEWAY_HOME"),
        ({"kind": "path", "path": "/x", "variables": {"A=B": "x"}}, "variables.A=B"),
    ],
)
def test_a_wrong_description_is_said(fields: Any, said: str) -> None:
    with pytest.raises(EnvironmentInvalid, match=said):
        environment_of("mine", fields, where="a test")


HASH = "--hash=sha256:" + "0" * 64
COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("greeting", "'greeting' is not pinned"),
        ("greeting>=1", "not pinned"),
        ("greeting==1.*", "not pinned"),
        ("greeting==${VERSION}", "takes a variable"),
        *((f"{each}\ngreeting==1.0", f"'{each}' brings in what this file does not say") for each in (
            "-e .", "--editable .", "--editable=.", "-r other.txt", "--requirement other.txt", "--requirement=o.txt",
            "-c other.txt", "--constraint other.txt", "--constraint=other.txt", "--require other.txt", "--pre",
        )),
        *((f"{each}\ngreeting==1.0", "may change under the same version") for each in (
            "--find-links ./wheels", "--find-links=./wheels", "-f wheels", "--find-links https://example.org/wheels",
            "--index-url ./simple", "--index-url=file:///simple", "-i /simple", "--extra-index-url simple",
        )),
        (f"-f wheels\ngreeting==1.0 {HASH}\nother==1.0", "may change under the same version"),
        ("greeting @ ./greeting.whl", "name a commit"),
        ("greeting @ file:///greeting.whl", "name a commit"),
        ("greeting @ git+https://example.org/greeting@main", "name a commit"),
        ("greeting[fast]===1.0 ; python_version > '3'", ""),
        (f"--no-index\n--find-links=wheels\ngreeting==1.0 \\\n    {HASH}  # a wheel", ""),
        (f"--require-hashes\n-i file:///simple\ngreeting==1.0 {HASH} {HASH}", ""),
        ("--index-url https://example.org/simple\n--extra-index-url=https://${TOKEN}@example.org\ngreeting==1.0", ""),
        ("-i ${INDEX}\n--only-binary :all:\n--no-binary=greeting\ngreeting==1.0", ""),
        (f"greeting @ file:///greeting.whl {HASH}", ""),
        (f"greeting @ git+https://example.org/greeting@{COMMIT}#subdirectory=x ; python_version > '3'", ""),
        ("greeting @ https://example.org/greeting.whl", ""),
    ],
)  # fmt: skip
async def test_requirements_say_all_that_is_installed_or_name_the_line_that_does_not(
    here: Here, lines: str, said: str
) -> None:
    file = here.folder / "r.txt"
    file.write_text(lines + "\n")
    if not said:
        assert (await runtime(kind="uv", requirements=file)).identity["lock"] == digest_of_file(file)
        return
    with pytest.raises(EnvironmentInvalid) as refused:
        await runtime(kind="uv", requirements=file)
    assert said in str(refused.value)


@pytest.mark.parametrize("source", ["requirements", "project"])
async def test_wheels_of_what_comes_from_no_index_are_refused_for_there_they_would_be_fetched(
    here: Here, source: str
) -> None:
    url = "https://example.org/greeting.whl"
    (here.folder / "r.txt").write_text(f"greeting @ {url}\n")
    (here.folder / "uv.lock").write_text(f'[[package]]\nname = "greeting"\nsource = {{ url = "{url}" }}\n')
    fields = {"project": here.folder} if source == "project" else {"requirements": here.folder / "r.txt"}
    assert (await runtime(kind="uv", **fields)).identity
    with pytest.raises(EnvironmentInvalid, match="comes from no index"):
        await runtime(kind="uv", ship="wheels", **fields)


async def test_passwords_of_indexes_reach_neither_messages_nor_manifests(
    here: Here, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that is refused names its line; the one that answers nothing is named by uv."""
    caplog.set_level("DEBUG")
    user.export("UV_HTTP_RETRIES", "0")
    file = here.folder / "r.txt"
    for index in ("--find-links https://me:secret@example.org", "--index-url http://me:secret@127.0.0.1:9/simple"):
        file.write_text(f"{index}\ngreeting==1.0\n")
        with pytest.raises((EnvironmentInvalid, EnvironmentUnusable)) as refused:
            await run(here, await runtime(kind="uv", requirements=file, python=PYTHON), "true")
        assert "secret" not in f"{refused.value!s} {refused.value!r}"
    requirements(here.folder)
    written = (here.folder / "requirements.txt").read_text()
    (here.folder / "requirements.txt").write_text(f"--index-url https://me:secret@example.org\n{written}")
    receipt = await run(
        here, await runtime(kind="uv", requirements=here.folder / "requirements.txt", python=PYTHON), "true"
    )
    assert receipt.succeeded
    told = b"".join(each.read_bytes() for each in (here.folder / "home").rglob("*") if each.is_file())
    assert b"secret" not in told
    assert "secret" not in caplog.text


async def test_a_package_in_a_folder_is_refused_for_no_lock_tells_what_is_in_it(here: Here) -> None:
    (here.folder / "uv.lock").write_text('[[package]]\nname = "near"\nsource = { directory = "../near" }\n')
    with pytest.raises(EnvironmentInvalid, match=r"near lies in the folder '\.\./near'"):
        await runtime(kind="uv", project=here.folder)


async def test_a_package_that_is_nowhere_is_said_and_nothing_runs(here: Here) -> None:
    file = requirements(here.folder)
    file.write_text(file.read_text().replace("1.0", "2.0"))
    made = await runtime(kind="uv", requirements=file, python=PYTHON)
    with pytest.raises(EnvironmentUnusable, match=r"greeting==2\.0"):
        await run(here, made, "true")


@pytest.mark.parametrize("ship", ["venv", "wheels"])
async def test_where_uv_is_missing_that_is_said(here: Here, user: User, ship: str) -> None:
    (here.folder / "few").mkdir()
    for each in ("env", "pip"):
        (here.folder / "few" / each).symlink_to("/bin/true")
    made = await runtime(kind="uv", requirements=requirements(here.folder), python=PYTHON, ship=ship)
    user.export("PATH", str(here.folder / "few"))
    with pytest.raises(EnvironmentUnusable, match="uv is not on PATH"):
        await provision.build(made, workshop_here())


async def test_packages_are_installed_for_the_nodes_architecture(here: Here, user: User) -> None:
    """A stand-in for uv writes down how it was called, and does its work."""
    other = "aarch64" if platform.machine() == "x86_64" else "x86_64"
    called = recorded_uv(here.folder / "bin")
    user.export("PATH", f"{called.parent}:{os.environ['PATH']}")
    made = await runtime(kind="uv", requirements=requirements(here.folder), python=PYTHON)
    await provision.provide(made, Bench(here.folder).cache(), workshop_here(), machine=other)
    assert f"--python-platform {other}-unknown-linux-gnu" in called.read_text()


@pytest.mark.parametrize(
    ("here_is", "there_is", "form"), [(True, True, "zst"), (True, False, "gz"), (False, True, "gz")]
)
async def test_what_is_shipped_is_packed_as_both_sides_can(
    here: Here, user: User, here_is: bool, there_is: bool, form: str, missing: Missing
) -> None:
    """The one that has no zstd has the rest of what it needs in a folder, and no other on its PATH."""
    if shutil.which("zstd") is None:
        missing.part("environments", why="zstd is not installed", get="make test, as root or with sudo")
    few = here.folder / "few"
    few.mkdir()
    for each in ("uv", "tar", "gzip", "sh", "env", "sync"):
        (few / each).symlink_to(str(shutil.which(each)))
    python = here.folder / "python"
    path = os.environ["PATH"] if there_is else few
    python.write_text(f'#!/bin/sh\nPATH="{path}" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    made = await runtime(kind="uv", requirements=requirements(here.folder), python=PYTHON)
    if not here_is:
        user.export("PATH", str(few))
    folder = PurePosixPath(here.folder / "environments")
    cache = EnvironmentCache(LocalShell(), SystemClock(), folder=folder, python=str(python))
    activation = await provision.provide(made, cache, workshop_here())
    assert [*Path(activation.path[0]).parent.rglob("greeting.py")]
    (file,) = (here.folder / "cache" / "built").glob("*/archive.*")
    assert file.suffix == f".{form}"
    assert file.read_bytes().startswith(MAGIC[form])


def test_environments_stand_beside_clusters(here: Here) -> None:
    file = here.folder / "clusters.toml"
    file.write_text('[environments.tools]\nkind = "modules"\nmodules = ["gcc/12"]\n')
    assert environment_in_file("tools", file).name == "tools"
    with pytest.raises(EnvironmentInvalid, match="no table"):
        environment_in_file("other", file)


def test_a_runtime_is_told_and_read_back() -> None:
    made = Runtime(name="mine", identity={"kind": "path", "path": "/x"}, warnings=("w",))
    assert Runtime.of_json(json.loads(json.dumps(made.as_json()))) == made
