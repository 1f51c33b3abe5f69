"""The page about functions is a program that prints what it says."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys

from prefect.settings import PREFECT_API_URL

from sluiceway.tasks.slurm import slurm_task
from tests.conftest import ROOT, User

PAGE = (ROOT / "docs" / "functions.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_prints_what_it_says(user: User) -> None:
    user.write("page.py", "\n".join(blocks("python")))
    env = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "SLUICEWAY_HOME": str(user.folder / "home")}
    done = subprocess.run([sys.executable, "page.py"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "".join(blocks("text"))


def test_every_option_stands_on_the_page() -> None:
    options = [name for name in inspect.signature(slurm_task).parameters if name != "options"]
    assert [name for name in options if f"| `{name}` |" not in PAGE] == []
