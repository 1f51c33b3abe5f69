"""`sluiceway reproduce`, `lineage` and `export` as a user types them: answers, files, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import Run, commands_of
from tests.conftest import User

SCRIPT = "#!/usr/bin/env python3\nimport sys\nopen('x.txt', 'w').write(open('../inputs/in.txt').read() + sys.argv[1])\n"


@pytest.fixture
def run(user: User, capsys: pytest.CaptureFixture[str]) -> Run:
    return commands_of(user, capsys)


@pytest.fixture
def made(run: Run, user: User) -> Path:
    user.write("in.txt", "input ")
    user.write("script.py", SCRIPT)
    code, _, said = run("run", "script.py", "word", "--input", "in.txt", "--output", "text=x.txt:file", "--out", "made")
    assert code == 0, said
    return user.folder / "made"


def test_an_output_is_made_again(run: Run, made: Path, user: User) -> None:
    code, said, _ = run("reproduce", "made")
    assert (code, said.splitlines()[0]) == (0, "identical")
    code, said, _ = run("reproduce", "made", "--json")
    told = json.loads(said)
    assert (code, told["outcome"], told["reproduced"]) == (0, "identical", True)
    assert json.loads((Path(told["folder"]) / "receipt.json").read_text())["outcome"] == "identical"


def test_an_output_that_comes_out_otherwise_is_exit_code_1_and_names_the_file(run: Run, user: User) -> None:
    user.write("script.py", "#!/usr/bin/env python3\nimport os\nopen('x', 'wb').write(os.urandom(9))\n")
    assert run("run", "script.py", "--output", "x", "--out", "made")[0] == 0
    code, said, _ = run("reproduce", "made")
    assert (code, said.splitlines()[0]) == (1, "same listing, different bytes")
    assert said.splitlines()[1].startswith("\tx: other bytes, first at byte ")


def test_what_cannot_be_made_again_is_exit_code_2_and_one_paragraph(run: Run, made: Path, user: User) -> None:
    user.write("in.txt", "another")
    code, _, said = run("reproduce", "made")
    assert code == 2
    assert "cannot be made again: its input 'in.txt' is not there any more as it was" in said
    assert run("reproduce", "script.py")[0] == 2


def test_lineage_is_a_tree_json_or_a_picture(run: Run, made: Path, user: User) -> None:
    user.write("next.py", SCRIPT)
    assert run("run", "next.py", "-", "--input", "made/x.txt", "--output", "x.txt", "--out", "later")[0] != 0
    user.write("next.py", SCRIPT.replace("in.txt", "x.txt"))
    assert run("run", "next.py", "-", "--input", "made/x.txt", "--output", "x.txt", "--out", "later")[0] == 0
    code, said, _ = run("lineage", "later")
    assert code == 0
    lines = said.splitlines()
    assert lines[0].startswith("run ")
    assert any("input: run " in each and each.endswith("/made") for each in lines)
    assert any(each.endswith("in.txt") for each in lines)
    told = json.loads(run("lineage", "made", "--down", "--json")[1])
    assert [each["kind"] for each in told["nodes"]] == ["output"] * 3
    assert ["failed" in each["label"] for each in told["nodes"]] == [False, True, False]
    for name, start in (("it.svg", b"<svg "), ("it.png", b"\x89PNG")):
        assert run("lineage", "later", "--picture", name)[0] == 0
        assert (user.folder / name).read_bytes().startswith(start)
    assert run("lineage", "later", "--picture", "it.pdf")[0] == 2
    assert run("lineage", "absent")[0] == 2


@pytest.mark.parametrize("target", ["crate", "crate.zip"])
def test_an_export_verifies_itself(run: Run, made: Path, user: User, target: str) -> None:
    code, said, _ = run("export", "made", "--to", target, "--name", "Mine")
    assert (code, said) == (0, f"1 outputs in {target}; python3 verify.py there verifies them\n")
    words = [f"{target}/verify.py"]
    if target.endswith(".zip"):
        subprocess.run([sys.executable, "-m", "zipfile", "-e", target, "unpacked"], cwd=user.folder, check=True)
        words = ["unpacked/verify.py", target]
    done = subprocess.run([sys.executable, "-I", "-S", *words], cwd=user.folder, capture_output=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, b"1 outputs, 0 findings")


def test_an_export_holds_the_script_and_its_modules(run: Run, user: User) -> None:
    user.write("helper.py", "WORD = 'x'\n")
    (user.folder / "package").mkdir()
    user.write("package/__init__.py", "")
    user.write("script.py", "#!/usr/bin/env python3\nimport helper, package\nopen('x', 'w').write(helper.WORD)\n")
    assert run("run", "script.py", "--output", "x", "--out", "made")[0] == 0
    assert run("export", "made", "--to", "crate")[0] == 0
    code = user.folder / "crate" / "code" / "made"
    assert sorted(each.relative_to(code).as_posix() for each in code.rglob("*.py")) == [
        "helper.py",
        "package/__init__.py",
        "script.py",
    ]
    (user.folder / "crate" / "code" / "made" / "helper.py").write_text("WORD = 'y'\n")
    words = [sys.executable, "-I", "-S", "crate/verify.py"]
    done = subprocess.run(words, cwd=user.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("code/made/helper.py was changed")
