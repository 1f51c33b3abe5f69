"""A toy engine for the tests of what launchers share: its parts are whatever the options say, and ready at once.

The text of SIDE travels beside the shared programs, as a real launcher's own program does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sluiceway.core.launch import launcher

SIDE = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nodeside

def start(engine, options):
    for node, argv in zip(engine.nodes, options["parts"]):
        part = engine.start(node, argv, ports=options["ports"], sync="logs", env={"OWN": "{node} {port0}"})
        engine.facts(part)
    boss = engine.start(engine.nodes[0], options["boss"], name="boss", is_vital=True, is_child=True)
    engine.ready(lambda: [each for each in options["wait"] if not os.path.exists(each)], options["seconds"])
    variables = {"TOY": "toy://here"}
    engine.connect("toy://here", "http://127.0.0.1:1/", variables=variables)
    return variables

sys.exit(nodeside.launch("toy", start, sys.argv[1:]))
"""
SLEEP = ["sleep", "600"]


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A folder with the programs, like an attempt's."""

    folder: Path
    begun: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "launch").mkdir()
        for name in launcher._SHARED:
            shutil.copy(Path(launcher.__file__).with_name(name), self.folder / "launch")
        (self.folder / "launch/toy_side.py").write_text(SIDE)

    def start(self, *payload: str, within: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        asked = {"nodes": 2, "parts": [SLEEP, SLEEP], "boss": SLEEP, "wait": [], "ports": 1, "seconds": 20, **options}
        side = str(self.folder / "launch/toy_side.py")
        words = [*within, sys.executable, "-I", side, json.dumps(asked), *payload]
        own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        own |= {name: str(self.folder / file) for name, file in (("CONTEXT", "context.json"), ("MESSAGES", "told"))}
        own |= {f"SLUICEWAY_{name}": own.pop(name) for name in ("CONTEXT", "MESSAGES")}
        begun = subprocess.Popen(
            words, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.begun.append(begun)
        return begun

    def end(self) -> None:
        """Leave nothing behind, whatever the test has found."""
        for each in self.begun:
            each.kill()
            each.wait()

    def run(self, *payload: str, **options: Any) -> subprocess.CompletedProcess[str]:
        begun = self.start(*payload, **options)
        stdout, stderr = begun.communicate(timeout=60)
        return subprocess.CompletedProcess(begun.args, begun.returncode, stdout, stderr)

    @property
    def connection(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "engine/connection.json").read_bytes()))

    def said(self, part: str) -> str:
        return (self.folder / f"engine/{part}.log").read_text()

    @property
    def living(self) -> list[str]:
        """What runs of it, wherever it has gone: by what only it has in its environment."""
        mark = f"SLUICEWAY_CONTEXT={self.folder / 'context.json'}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Callable[[str], Toy]]:
    """Makes a toy engine in a folder of that name."""
    made: list[Toy] = []

    def make(name: str) -> Toy:
        (tmp_path / name).mkdir(exist_ok=True)
        made.append(Toy(folder=tmp_path / name))
        return made[-1]

    yield make
    for each in made:
        each.end()
