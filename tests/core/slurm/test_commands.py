"""Scripts that need no Slurm, run here."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sluiceway.core.remote.local import LocalShell
from sluiceway.core.slurm.commands import remove_unlinked


async def test_of_inputs_that_are_to_go_those_stay_that_another_run_links_to(tmp_path: Path) -> None:
    """Red on: core/slurm/commands.py: `comm -13 "$t/used" "$t/old"` -> `cat "$t/old"`."""
    inputs, runs = tmp_path / "inputs", tmp_path / "runs/b/a1"
    for folder in (inputs, runs):
        folder.mkdir(parents=True)
    for name in ("mine", "both", "other"):
        (inputs / name).touch()
    (runs / "table").symlink_to(inputs / "both")
    asked = remove_unlinked(PurePosixPath(inputs), PurePosixPath(tmp_path / "runs"), ["mine", "both", "none"])
    assert (await LocalShell().run(asked)).succeeded
    assert {each.name for each in inputs.iterdir()} == {"both", "other"}
