"""Where the work is done: a payload enters its environment, and no text of it is ever taken for anything else."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.environments import contained as contained_module
from sluiceway.core.environments import enter
from sluiceway.core.environments.activation import Activation
from sluiceway.core.environments.environment import Environment, Modules
from sluiceway.core.environments.provision import provide
from sluiceway.core.environments.runtime import Recipe, Runtime
from tests.core.environments.made import Bench

HOSTILE = [
    "a b",
    "$(touch owned)",
    "`touch owned`",
    "'; touch owned; '",
    'x"y',
    "--",
    "-n",
    "new\nline",
    "*",
    "ü\udcff",
]
PROGRAM = Path(enter.__file__)


def run(
    folder: Path, activation: Activation, *payload: str, asked: dict[str, str] | None = None, **variables: str
) -> Any:
    """Run a payload through the program, as jobside does."""
    (folder / "work").mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_text(json.dumps({"environment": asked or {}}))
    (folder / "activation.json").write_bytes(activation.document())
    argv = [sys.executable, "-I", str(PROGRAM), str(folder / "activation.json"), "..", *payload]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **(asked or {}), **variables}
    return subprocess.run(argv, cwd=folder / "work", env=env, capture_output=True, check=False)


def plain(**fields: Any) -> Activation:
    return Activation(name="mine", identity={}, **fields)


def words(done: Any) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [each.decode(errors="surrogateescape") for each in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_payload_gets_its_words_and_variables_as_they_are(tmp_path: Path, text: str) -> None:
    activation = plain(variables={"VALUE": text}, prefix=("env", "OTHER=1"))
    done = run(tmp_path, activation, "sh", "-c", 'printf "%s\\0" "$VALUE" "$1" "$OTHER"', "sh", text)
    assert words(done) == [text, text, "1"]
    assert not [*tmp_path.rglob("owned")]


def test_folders_stand_before_those_of_the_node(tmp_path: Path) -> None:
    activation = plain(path=("/first", "/sec ond"), python_path=("/code",))
    done = run(tmp_path, activation, "sh", "-c", 'printf "%s\\0" "$PATH" "$PYTHONPATH"', PYTHONPATH="/lib")
    path, python = words(done)
    assert path.startswith("/first:/sec ond:/")
    assert python == "/code:/lib"


def test_what_the_request_says_stands_above_the_environment_and_the_profile(tmp_path: Path) -> None:
    (tmp_path / ".bash_profile").write_text("export FROM=profile KEPT=profile SLUICEWAY_CONTEXT=profile\n")
    script = 'env -0 >&"$1"'
    activation = plain(variables={"FROM": "environment"}, prepare=("bash", "-l", "-c", script, "--"))
    show = 'printf "%s\\0" "$FROM" "$KEPT" "$SLUICEWAY_CONTEXT"'
    done = run(tmp_path, activation, "sh", "-c", show, asked={"FROM": "request"}, SLUICEWAY_CONTEXT="ours")
    assert words(done) == ["request", "profile", "ours"]


def test_its_own_source_stands_above_that_of_the_environment_in_which_it_was_asked_for(tmp_path: Path) -> None:
    activation = plain(variables={"SLUICEWAY_SOURCE": "/inner"}, python_path=("/inner",))
    outer: Any = {"SLUICEWAY_SOURCE": "/outer", "PYTHONPATH": "/outer", "SLUICEWAY_CONTEXT": "ours"}
    show = 'printf "%s\\0" "$SLUICEWAY_SOURCE" "$PYTHONPATH" "$SLUICEWAY_CONTEXT"'
    assert words(run(tmp_path, activation, "sh", "-c", show, **outer)) == ["/inner", "/inner:/outer", "ours"]


@pytest.mark.parametrize(
    ("python", "told"),
    [("python3.11", "3.11"), ("python3", None), ("pypy3.11", None), ("python3.9", "no packages for Python 3.9")],
)
def test_the_interpreter_of_the_node_is_told_where_its_name_tells_and_has_to_be_that_of_the_packages(
    tmp_path: Path, python: str, told: str | None
) -> None:
    """Red on: core/environments/enter.py: `if version and not os.path.isdir(` -> `if False and not os.path.isdir(`."""
    (tmp_path / "env" / "lib" / "python3.11").mkdir(parents=True)
    (tmp_path / "env" / "bin").mkdir()
    (tmp_path / python).touch()
    (tmp_path / "env" / "bin" / "python").symlink_to(tmp_path / python)
    done = run(tmp_path, plain(python=str(tmp_path / "env" / "bin" / "python")), "true")
    if done.returncode == 0:
        assert json.loads((tmp_path / "entered.json").read_text())["python"] == told
    else:
        assert (done.returncode, str(told) in done.stderr.decode()) == (enter.UNFIT, True)


def test_the_payload_takes_the_place_of_the_program(tmp_path: Path) -> None:
    assert run(tmp_path, plain(), "sh", "-c", "exit 7").returncode == 7
    assert run(tmp_path, plain(), "sh", "-c", "kill -USR1 $$").returncode == -10


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"machine": "pdp11"}, f"made for pdp11, and this node is {platform.machine()}"),
        ({"sealed": ("/no/such.sealed",)}, "/no/such.sealed is missing"),
        ({"prepare": ("bash", "-c", "exit 70", "--")}, "could not be activated: bash ended with exit code 70"),
        ({"prepare": ("no-such-shell", "-c", "", "--")}, "no-such-shell does not start"),
    ],
)
def test_a_node_that_cannot_use_it_says_so_and_runs_nothing(tmp_path: Path, fields: Any, said: str) -> None:
    """Red on: core/environments/enter.py: `_require_fit(activation) environment` -> `environment`."""
    done = run(tmp_path, plain(**fields), "touch", "ran")
    assert done.returncode == enter.UNFIT
    assert said in done.stderr.decode()
    assert not (tmp_path / "work" / "ran").exists()


def module_node(folder: Path) -> None:
    """A node whose login shells have a function `module`, which tells what it was asked."""
    (folder / ".bash_profile").write_text(
        'echo a greeting\nmodule() { [ "$2" != none/1 ] || return 1; printf "%s\\0" "$@" >>"$HOME/asked"; export '
        'LOADED="${LOADED-}<$2>"; }\n'
    )


def recipe(kind: Any) -> Runtime:
    return Runtime(name="mine", identity={}, recipe=Recipe(environment=Environment(name="mine", kind=kind)))


async def test_modules_are_loaded_in_their_order_by_names_that_no_shell_reads(tmp_path: Path) -> None:
    module_node(tmp_path)
    bench = Bench(tmp_path)
    names = ("gcc/12", *(each for each in HOSTILE if "\udcff" not in each))
    activation = await provide(recipe(Modules(names=names)), bench.cache(), bench.workshop)
    done = run(tmp_path, activation, "sh", "-c", 'printf "%s\\0" "$LOADED"')
    assert words(done) == ["".join(f"<{each}>" for each in names)]
    assert (tmp_path / "asked").read_text().split("\0")[1:-1:2] == [*names]
    assert not [*tmp_path.rglob("owned")]


@pytest.mark.parametrize(
    ("names", "profile", "said"),
    [(("gcc/12", "none/1"), True, "exit code 70"), (("gcc/12",), False, "no environment modules")],
)
async def test_modules_that_are_not_there_end_it(
    tmp_path: Path, names: tuple[str, ...], profile: bool, said: str
) -> None:
    if profile:
        module_node(tmp_path)
    else:
        (tmp_path / ".bash_profile").write_text("unset -f module 2>/dev/null\n")
    bench = Bench(tmp_path)
    activation = await provide(recipe(Modules(names=names)), bench.cache(), bench.workshop)
    done = run(tmp_path, activation, "touch", "ran")
    assert done.returncode == enter.UNFIT
    assert said in done.stderr.decode()


STAND_IN = r"""#!/bin/sh
printf '%s\0' "$@" >>"$RECORD"; printf '\n' >>"$RECORD"
case " $* " in *" image inspect "*) test -e "$RECORD.loaded";; *" load "*) touch "$RECORD.loaded";; esac
"""


def stand_in(folder: Path, *names: str) -> str:
    """Put programs on a PATH that write down how they were called."""
    (folder / "bin").mkdir()
    for name in names:
        (folder / "bin" / name).write_text(STAND_IN)
        (folder / "bin" / name).chmod(0o755)
    # Nothing else that runs containers is on it, whatever this machine has.
    for tool in ("sh", "touch", "env", "bash"):
        (folder / "bin" / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    return str(folder / "bin")


def called(folder: Path) -> list[list[str]]:
    calls = (folder / "record").read_text(errors="surrogateescape").split("\0\n")[:-1]
    return [each.split("\0") for each in calls]


def contained(folder: Path, **fields: Any) -> Activation:
    order: dict[str, Any] = {
        "runtime": "auto",
        "image": "mine:1",
        "digest": "sha256:ab",
        "archive": "/env/image.tar",
        "form": "oci-archive",
    }
    order |= {"scratch": str(folder / "key"), "run_options": [], "variables": [], "mounts": []}
    return plain(container={**order, **fields}, variables={"THREADS": "$(touch owned)"})


def attempt(folder: Path) -> Path:
    """An attempt's folder whose path is as bad as a path may be, with an input that is a link."""
    place = folder / "runs" / 'k,e"y $(touch owned)' / "a1"
    (place / "inputs").mkdir(parents=True)
    (folder / "data").write_text("x")
    (place / "inputs" / "reads").symlink_to(folder / "data")
    return place


@pytest.mark.parametrize("runtime", ["podman-hpc", "podman", "docker"])
def test_a_container_runs_by_its_digest_and_pulls_nothing(tmp_path: Path, runtime: str) -> None:
    path, place = stand_in(tmp_path, runtime), attempt(tmp_path)
    order: Any = {"variables": ["THREADS"], "run_options": ["--cgroups=disabled"], "mounts": ["/env/s,ource"]}
    activation = replace(contained(tmp_path, **order), python_path=("/env/s,ource",))
    variables: dict[str, Any] = {
        "RECORD": str(tmp_path / "record"),
        "PATH": path,
        "XDG_RUNTIME_DIR": str(tmp_path),
        "SECRET": "s",
    }
    done = run(place, activation, "tool", *HOSTILE, asked={"MINE": "'; rm"}, **variables)
    assert done.returncode == 0, done.stderr
    look, load, again, ran = called(tmp_path)
    assert look == again == ["image", "inspect", "sha256:ab"]
    assert load == ["load", "--input=/env/image.tar"]
    assert ran[:5] == ["run", "--rm", "--pull=never", "--network=host", "--entrypoint="]
    assert ran[-len(HOSTILE) - 2 :] == ["sha256:ab", "tool", *HOSTILE]
    run_folder = str(place.parent).replace('"', '""')
    assert f'--mount=type=bind,"source={run_folder}","destination={run_folder}"' in ran
    assert any(
        each.startswith(f"--mount=type=bind,source={tmp_path / 'data'},") and each.endswith(",ro") for each in ran
    )
    assert {"--env=MINE", "--env=THREADS", "--env=PYTHONPATH", "--cgroups=disabled"} <= {*ran}
    assert '--mount=type=bind,"source=/env/s,ource","destination=/env/s,ource",ro' in ran
    assert not any("SECRET" in each or "rm" in each.split("=")[1:] for each in ran)
    record = json.loads((place / "entered.json").read_text())["container"]
    assert record == {"runtime": runtime, "image": "mine:1", "digest": "sha256:ab"}
    assert not [*tmp_path.rglob("owned")]


@pytest.mark.parametrize(
    ("there", "first"),
    [
        (contained_module.ORDER, "podman-hpc"),
        (("docker", "singularity", "podman"), "podman"),
        (("docker", "singularity", "apptainer"), "apptainer"),
        (("docker", "singularity"), "singularity"),
    ],
)
def test_of_several_runtimes_the_first_in_order_is_taken(tmp_path: Path, there: tuple[str, ...], first: str) -> None:
    path, place = stand_in(tmp_path, *there), attempt(tmp_path)
    variables: Any = {"RECORD": str(tmp_path / "record"), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": path}
    (tmp_path / "key.sif").touch()
    assert run(place, contained(tmp_path), "tool", **variables).returncode == 0
    assert json.loads((place / "entered.json").read_text())["container"]["runtime"] == first


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_apptainer_gets_an_image_file_that_is_made_once(tmp_path: Path, runtime: str) -> None:
    path, place = stand_in(tmp_path, runtime), attempt(tmp_path)
    (tmp_path / "bin" / runtime).write_text(
        '#!/bin/sh\nprintf "%s\\0" "$@" >>"$RECORD"; printf "\\n" >>"$RECORD"\n[ "$1" != build ] || : >"$3"\n'
    )
    variables: dict[str, Any] = {"RECORD": str(tmp_path / "record"), "PATH": path}
    for _ in range(2):
        activation = contained(tmp_path, runtime=runtime, mounts=["/env/source"])
        assert run(place, activation, "tool", "a b", **variables).returncode == 0
    build, first, second = called(tmp_path)
    assert build[:2] == ["build", "--force"]
    assert build[3] == "oci-archive:/env/image.tar"
    assert first == second
    assert first[:2] == ["exec", f"--pwd={place}/work"]
    assert "--mount=type=bind,source=/env/source,destination=/env/source,ro" in first
    assert first[-3:] == [f"{tmp_path}/key.sif", "tool", "a b"]


@pytest.mark.parametrize(
    ("asked", "said"), [("auto", "none of podman-hpc, podman"), ("docker", "docker is not on PATH")]
)
def test_without_a_runtime_it_fails(tmp_path: Path, asked: str, said: str) -> None:
    path, place = stand_in(tmp_path), attempt(tmp_path)
    done = run(place, contained(tmp_path, runtime=asked), "touch", "ran", PATH=path)
    assert done.returncode == enter.UNFIT
    assert said in done.stderr.decode()
    assert not (place / "work" / "ran").exists()


def test_without_a_container_because_the_user_said_so_it_is_told(tmp_path: Path) -> None:
    path, place = stand_in(tmp_path, "podman"), attempt(tmp_path)
    done = run(place, contained(tmp_path, runtime="none"), "touch", "ran", PATH=path, RECORD=str(tmp_path / "record"))
    assert done.returncode == 0
    assert (place / "work" / "ran").exists()
    assert json.loads((place / "entered.json").read_text())["container"]["runtime"] == "none"
    assert not (tmp_path / "record").exists()


def test_an_image_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    path, place = stand_in(tmp_path), attempt(tmp_path)
    (tmp_path / "bin" / "podman").write_text("#!/bin/sh\necho no such archive >&2; exit 125\n")
    (tmp_path / "bin" / "podman").chmod(0o755)
    done = run(place, contained(tmp_path), "true", PATH=path, XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == enter.UNFIT
    assert "could not be loaded: no such archive" in done.stderr.decode()
