"""Images are named by what they are built from, and built again only when that changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluiceway.core.environments.container import image_of, pack_image, reference_of
from sluiceway.core.environments.environment import Container
from sluiceway.core.environments.workshop import Workshop
from sluiceway.core.errors import EnvironmentInvalid, EnvironmentUnusable
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from tests.conftest import User

# It writes down how it was called, and knows the images that it has built.
STAND_IN = r"""#!/bin/sh
printf '%s\0' "$@" >>"$0.called"; printf '\n' >>"$0.called"
case $1 in
build) for each; do last=$each; done; ls -A "$last" >"$0.context"
       while [ $# -gt 0 ]; do [ "$1" != --tag ] || echo "$2" >>"$0.images"; shift; done;;
image) for each; do last=$each; done; grep -qxF -- "$last" "$0.images" 2>/dev/null && echo "sha256:$(printf %064d 7)";;
save) while [ $# -gt 0 ]; do [ "$1" != --output ] || echo packed >"$2"; shift; done;;
esac
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(folder=tmp_path / "built", shell=LocalShell(), clock=SystemClock())


@pytest.fixture
def recipe(tmp_path: Path) -> Container:
    folder = tmp_path / "con text"
    (folder / "code").mkdir(parents=True)
    (folder / "Containerfile").write_text('FROM base\nCOPY code "a file" /app/\nCOPY --from=other /x /y\n')
    (folder / "code" / "main.py").write_text("1")
    (folder / "a file").write_text("2")
    (folder / "uv.lock").write_text("3")
    (folder / "data").write_text("large")
    return Container(containerfile=folder / "Containerfile")


def machine_with(user: User, *builders: str) -> Path:
    """A PATH with these builders and what they are made of, and nothing else."""
    folder = user.folder / "bin"
    folder.mkdir()
    for name in builders:
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    for tool in ("sh", "ls", "grep", "printf", "env", "tar"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    user.export("PATH", str(folder))
    return folder


def calls(program: Path) -> list[list[str]]:
    return [each.split("\0") for each in program.with_name(f"{program.name}.called").read_text().split("\0\n")[:-1]]


@pytest.mark.parametrize("changed", ["Containerfile", "code/main.py", "a file", "uv.lock"])
def test_a_change_of_what_it_is_built_from_is_another_image(recipe: Container, changed: str) -> None:
    file = recipe.containerfile
    assert file is not None
    before = reference_of(recipe, name="My tools!")
    assert before.startswith("localhost/sluiceway-my-tools:")
    (file.parent / changed).write_text((file.parent / changed).read_text() + "\n")
    assert reference_of(recipe, name="My tools!") != before


def test_a_change_of_another_file_is_none(recipe: Container) -> None:
    file = recipe.containerfile
    assert file is not None
    before = reference_of(recipe, name="mine")
    (file.parent / "data").write_text("larger")
    (file.parent / "code" / ".git").mkdir()
    (file.parent / "code" / ".git" / "index").write_text("x")
    assert reference_of(recipe, name="mine") == before


async def test_an_image_is_built_once_from_those_files_alone(user: User, recipe: Container, workshop: Workshop) -> None:
    podman = machine_with(user, "podman", "docker") / "podman"
    first = await image_of(recipe, name="mine", workshop=workshop)
    second = await image_of(recipe, name="mine", workshop=workshop)
    assert (first.built, second.built) == (True, False)
    assert first.digest == "sha256:" + "7".rjust(64, "0")
    assert [each[0] for each in calls(podman)].count("build") == 1
    assert set(Path(f"{podman}.context").read_text().splitlines()) == {"Containerfile", "a file", "code", "uv.lock"}


async def test_podman_hpc_moves_its_image_to_where_nodes_see_it(
    user: User, recipe: Container, workshop: Workshop
) -> None:
    builder = machine_with(user, "podman-hpc", "podman") / "podman-hpc"
    image = await image_of(recipe, name="mine", workshop=workshop)
    assert image.builder == "podman-hpc"
    assert ["migrate", image.reference] in calls(builder)


@pytest.mark.parametrize(
    ("builder", "way"), [("podman", ["--format", "oci-archive"]), ("docker", [])], ids=["podman", "docker"]
)
async def test_an_image_is_packed_so_that_its_digest_stays(
    user: User, recipe: Container, workshop: Workshop, builder: str, way: list[str]
) -> None:
    program = machine_with(user, builder) / builder
    image = await image_of(recipe, name="mine", workshop=workshop)
    packed = await pack_image(image, name="mine", workshop=workshop, folder=user.folder)
    assert packed.form == "file"
    assert calls(program)[-1] == ["save", *way, "--output", str(packed.path), image.reference]


async def test_without_a_builder_it_is_said(user: User, recipe: Container, workshop: Workshop) -> None:
    machine_with(user)
    with pytest.raises(EnvironmentUnusable, match="none of podman-hpc, podman, docker is on PATH"):
        await image_of(recipe, name="mine", workshop=workshop)


async def test_an_image_that_is_not_here_is_not_pulled(user: User, workshop: Workshop) -> None:
    program = machine_with(user, "podman") / "podman"
    with pytest.raises(EnvironmentUnusable, match=r"podman has no image 'quay.io/x:1' here"):
        await image_of(Container(image="quay.io/x:1"), name="mine", workshop=workshop)
    assert not [each for each in calls(program) if each[0] == "pull"]


@pytest.mark.parametrize("line", ["COPY nowhere /x", "ADD n*.txt /x", json.dumps("x").join(["COPY [", ', "/y"]'])])
def test_a_file_that_it_copies_and_is_not_there_is_said(recipe: Container, line: str) -> None:
    file = recipe.containerfile
    assert file is not None
    file.write_text(f"FROM base\n{line}\n")
    with pytest.raises(EnvironmentInvalid, match="there is no such file"):
        reference_of(recipe, name="mine")
