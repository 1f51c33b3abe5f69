"""Images are named by what they are built from, and built again only when that changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.environments.container import image_of, pack_image, reference_of
from sluiceway.core.environments.containerfile import sources_in
from sluiceway.core.environments.environment import Container, environment_of
from sluiceway.core.environments.runtime import Runtime, runtime_of
from sluiceway.core.environments.workshop import Workshop
from sluiceway.core.errors import EnvironmentInvalid, EnvironmentUnusable
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.runs.request import RunRequest
from tests.conftest import User
from tests.core.runs.here import Here

# It writes down how it was called, and knows the images that it has built.
STAND_IN = r"""#!/bin/sh
printf '%s\0' "$@" >>"$0.called"; printf '\n' >>"$0.called"
case $1 in
build) for each; do last=$each; done; ls -A "$last" >"$0.context"; rm -rf "$0.copy"; cp -a "$last" "$0.copy"
       while [ $# -gt 0 ]; do [ "$1" != --tag ] || echo "$2" >>"$0.images"; shift; done;;
image) for each; do last=$each; done; told=sha256:$(printf %064d 7)
       { [ "$last" = $told ] || grep -qxF -- "$last" "$0.images" 2>/dev/null; } && echo $told;;
migrate) ! rm "$0.breaks" 2>/dev/null;;
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
    for tool in ("sh", "ls", "grep", "printf", "env", "tar", "gzip", "cp", "rm"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    user.export("PATH", str(folder))
    return folder


def calls(program: Path) -> list[list[str]]:
    return [each.split("\0") for each in program.with_name(f"{program.name}.called").read_text().split("\0\n")[:-1]]


async def asked_in_a_container(user: User, recipe: Container, *, runtime: str) -> tuple[Runtime, Path]:
    """What a run asks for whose image the stand-in for podman builds, and that stand-in."""
    podman = machine_with(user, "podman") / "podman"
    for name in ("HOME", "CACHE_DIR"):
        user.export(f"SLUICEWAY_{name}", str(user.folder / name.partition("_")[0].lower()))
    user.export("XDG_RUNTIME_DIR", str(user.folder))
    (user.folder / "source").mkdir()
    (user.folder / "source" / "mine.py").touch()
    kind = {"kind": "container", "containerfile": recipe.containerfile, "runtime": runtime}
    fields = {**kind, "source": user.folder / "source"}
    return await runtime_of(environment_of("mine", fields, where="a test")), podman


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
    await image_of(recipe, name="mine", workshop=workshop)
    assert calls(builder).count(["migrate", image.reference]) == 1


async def test_a_move_that_was_broken_off_is_made_when_the_image_is_found(
    user: User, recipe: Container, workshop: Workshop
) -> None:
    """Red on: core/environments/container.py: `if not await asyncio.to_thread(done.exists):` -> `if False:`."""
    builder = machine_with(user, "podman-hpc") / "podman-hpc"
    Path(f"{builder}.breaks").touch()
    with pytest.raises(EnvironmentUnusable, match="podman-hpc migrate"):
        await image_of(recipe, name="mine", workshop=workshop)
    image = await image_of(recipe, name="mine", workshop=workshop)
    assert not image.built
    assert calls(builder).count(["migrate", image.reference]) == 2


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


async def test_the_users_own_code_is_seen_inside_under_the_name_that_it_has_outside(
    user: User, recipe: Container
) -> None:
    made, podman = await asked_in_a_container(user, recipe, runtime="podman")
    receipt = await Here(user.folder).run(RunRequest(command=("tool",), runtime=made))
    assert receipt.succeeded, receipt.stderr.read_text()
    ran = calls(podman)[-1]
    (tree,) = (user.folder / "cache" / "environments").glob("source-*[!dk]")
    assert f"--mount=type=bind,source={tree},destination={tree},ro" in ran
    assert {"--env=PYTHONPATH", "--env=SLUICEWAY_SOURCE"} <= {*ran}
    told = json.loads(receipt.manifest.read_text())["container"]
    assert (told["runtime"], told["digest"]) == ("podman", made.identity["image"])


async def test_an_image_that_was_never_entered_is_not_told_as_what_ran(user: User, recipe: Container) -> None:
    """Red on: core/environments/runtime.py: `{"runtime": None, "digest": None}` -> `dict(self.container)`."""
    made, _ = await asked_in_a_container(user, recipe, runtime="docker")
    receipt = await Here(user.folder).run(RunRequest(command=("tool",), runtime=made))
    assert receipt.exit_code == 78
    told = json.loads(receipt.manifest.read_text())
    assert (told["container"]["runtime"], told["container"]["digest"]) == (None, None)
    assert told["parameters"]["runtime"]["image"] == made.identity["image"]


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("COPY a \\\n  b \\ \n\n# why\n c /x", ["a", "b", "c"]),
        ("CO\\\nPY a /x\nRUN echo \\\nCOPY b /y", ["a"]),
        ("# COPY a /x\nONBUILD COPY b /y\nENV COPY=c\n  copy d\t/x", ["d"]),
        ("COPY <<EOF b /x\nCOPY c /y\nEOF\nADD d /z", ["b", "d"]),
        ("RUN cat <<-'EOF' >x && cat <<B\n\tCOPY a /x\n\tEOF\nADD b /y\nB\nCOPY c /z", ["c"]),
        ('RUN echo "1 <<EOF 2" $((1<<3))\nCOPY a /x', ["a"]),
        ("RUN echo it's\nCOPY a /x", ["a"]),
        ('COPY --chown=1:1 --link ["a b", "c", "/x"]', ["a b", "c"]),
        ("COPY [ab]* /x", ["[ab]*"]),
        ("ADD https://example.org/x git@example.org:x y /z\nCOPY --from=other a /b", ["y"]),
        ("RUN --mount=type=bind,source=a,target=/x --mount=type=cache,target=/y make", ["a"]),
        ("RUN --mount=from=base,target=/x --mount=target=. make", ["."]),
    ],
)
def test_what_is_copied_is_read_as_builders_read_it(text: str, copied: list[str]) -> None:
    assert list(sources_in(text)) == copied


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("COPY nowhere /x", "there is no such file"),
        ("ADD n*.txt /x", "there is no such file"),
        (json.dumps("x").join(["COPY [", ', "/y"]']), "there is no such file"),
        ("COPY it's /x", '"COPY it\'s /x" cannot be read: No closing quotation'),
        ("COPY uv.lock", "'COPY uv.lock' cannot be read: it names no source, or no place"),
        ("COPY [1, 2]", "a list of something else than texts"),
        ("COPY", "cannot be read"),
        ("COPY ../other /x", r"'\.\./other', which is not beside it"),
        ("COPY a**b /x", "there is no such file"),
        ("COPY <<EOF /x\nCOPY code /y", "here-document 'EOF' has no end"),
        ("COPY dangling* /x", "'dangling', a link to nothing"),
        ("COPY out /x", "'out', a link that leads out"),
        ("COPY round /x", "'round', a link to nothing"),
    ],
)
def test_a_line_that_copies_nothing_that_is_there_is_said(recipe: Container, line: str, said: str) -> None:
    file = recipe.containerfile
    assert file is not None
    for name, target in (("dangling", "nowhere"), ("out", ".."), ("round", "round")):
        (file.parent / name).symlink_to(target)
    file.write_text(f"FROM base\n{line}\n")
    with pytest.raises(EnvironmentInvalid, match=said):
        reference_of(recipe, name="mine")


def links(folder: Path) -> dict[str, str]:
    """What somebody has in a folder of code: links to a folder, to nothing, to a file, and an empty folder."""
    made = {"docs": "../texts", "gone": "nowhere", "main": "main.py"}
    for name, target in made.items():
        (folder / "code" / name).symlink_to(target)
    (folder / "texts").mkdir()
    (folder / "code" / "empty").mkdir(mode=0o700)
    return made


async def test_links_and_empty_folders_are_built_from_as_they_are(
    user: User, recipe: Container, workshop: Workshop
) -> None:
    file = recipe.containerfile
    assert file is not None
    made, podman = links(file.parent), machine_with(user, "podman") / "podman"
    (file.parent / "entry").symlink_to("code/main")
    file.write_text("FROM base\nCOPY code entry /app/\n")
    await image_of(recipe, name="mine", workshop=workshop)
    copy = Path(f"{podman}.copy")
    assert {each.name: str(each.readlink()) for each in (copy / "code").iterdir() if each.is_symlink()} == made
    assert (copy / "entry").read_text() == "1"
    assert (copy / "code" / "empty").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "change",
    [
        lambda code: (code / "main.py").chmod(0o755),
        lambda code: (code / "gone").unlink(),
        lambda code: ((code / "docs").unlink(), (code / "docs").symlink_to("../other")),
        lambda code: (code / "empty").rmdir(),
        lambda code: (code / "empty").chmod(0o755),
    ],
    ids=["mode of a file", "a link", "where a link leads", "a folder", "mode of a folder"],
)
def test_a_change_that_is_none_of_content_is_another_image_too(recipe: Container, change: Any) -> None:
    file = recipe.containerfile
    assert file is not None
    links(file.parent)
    before = reference_of(recipe, name="mine")
    change(file.parent / "code")
    assert reference_of(recipe, name="mine") != before
