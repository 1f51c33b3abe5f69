"""`sluiceway run` as a Prefect flow run: where a server is configured, and where that is asked for; the same bytes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

TEXT = """\
cat ../inputs/in
echo "$1" "$COLOUR" >made.txt
mkdir sub && head -c 400000 /dev/zero >sub/zeros
echo so >&2
exit "$2"
"""


def ran(folder: Path, *options: str, exit_code: int = 0, api: str | None) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does, from a home of its own."""
    folder.mkdir()
    (folder / "script.sh").write_text(TEXT)
    (folder / "in").write_text("input\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    own["SLUICEWAY_HOME"] = str(folder / "home")
    words = ["run", "script.sh", "a b", str(exit_code), "--setenv", "COLOUR=deep red", "--input", "in", "--out", "out"]
    words += ["--output", "made.txt", "--output", "sub", *options]
    return subprocess.run(
        [str(Path(sys.executable).with_name("sluiceway")), *words],
        cwd=folder,
        env=own if api is None else {**own, "PREFECT_API_URL": api},
        capture_output=True,
        text=True,
        check=False,
    )


def results(folder: Path) -> dict[str, bytes]:
    """Every file that came back, but for the manifest, which tells of times."""
    out = folder / "out"
    names = (each.relative_to(out) for each in out.rglob("*") if each.is_file())
    return {str(name): (out / name).read_bytes() for name in names if not name.name.startswith((".", "manifest"))}


@pytest.mark.slow
@pytest.mark.parametrize("exit_code", [0, 7])
def test_the_command_is_a_flow_run_where_a_server_is_configured_with_the_same_bytes(
    tmp_path: Path, exit_code: int
) -> None:
    direct = ran(tmp_path / "direct", "--json", exit_code=exit_code, api=None)
    flow = ran(tmp_path / "flow", "--json", exit_code=exit_code, api=PREFECT_API_URL.value())
    assert (direct.returncode, flow.returncode) == (min(exit_code, 1),) * 2, direct.stderr + flow.stderr
    assert "Prefect:" not in direct.stdout + direct.stderr
    assert re.search(r"^Prefect: http://\S+/runs/flow-run/[0-9a-f-]{36}$", flow.stderr, re.MULTILINE)
    assert results(tmp_path / "flow") == results(tmp_path / "direct")
    assert len(results(tmp_path / "flow")) == 4
    told = [json.loads(each.stdout) for each in (direct, flow)]
    assert told[0]["key"] == told[1]["key"]
    assert [each["exit_code"] for each in told] == [exit_code] * 2


@pytest.mark.nightly
def test_a_flow_run_that_is_asked_for_brings_its_own_server(tmp_path: Path) -> None:
    done = ran(tmp_path / "own", "--flow", api=None)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Prefect: http://127\.0\.0\.1:\d+/runs/flow-run/", done.stderr, re.MULTILINE)
    assert results(tmp_path / "own")["made.txt"] == b"a b deep red\n"
