"""How each peer is installed, given its input, and run.

Each has a folder of its own with hard links to the generated files, because two of them write beside their input.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.scoring.layout import file_name, pgs_id
from benchmarks.scoring.watch import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.scoring.layout import Work

THREADS: Final = str(os.cpu_count() or 1)
JUST_PRS_PYTHON: Final = "3.13"
"""just-prs 0.11.0 asks for this Python or a newer one."""

_GNOMON: Final = "import gnomon, sys; gnomon.score(sys.argv[1], sys.argv[2], build='38')"


def install(work: Work, name: str, package: str, *, python: str = "3") -> Path:
    """Give the Python of an environment that holds one package, made with uv or with what Python has."""
    venv = work.venv(name)
    chosen = venv / "bin" / "python"
    if chosen.exists():
        return chosen
    uv = shutil.which("uv", path=f"{os.environ['PATH']}:.tools/bin")
    if uv:
        subprocess.run((uv, "venv", "--quiet", "--python", python, str(venv)), check=True)
        subprocess.run((uv, "pip", "install", "--quiet", "--python", str(chosen), package), check=True)
    else:
        subprocess.run((f"python{python}", "-m", "venv", str(venv)), check=True)
        subprocess.run((str(chosen), "-m", "pip", "install", "--quiet", package), check=True)
    return chosen


def gnomon(work: Work, scores: int) -> list[Command]:
    """Give gnomon's runs on a .bed; it keeps tables beside score files, and in its cache what matched."""
    python = install(work, "gnomon", "gnomon-pgs==0.2.0")
    home = work.tool(f"gnomon-{scores}")
    _link_scores(work, scores, home / "scores")
    if not work.bed.with_suffix(".bed").exists():
        make = ("--make-bed", "--out", str(work.bed))
        subprocess.run(("plink2", "--pfile", str(work.panel), "vzs", *make), check=True, capture_output=True)
    for ending in (".bed", ".bim", ".fam"):
        _link(work.bed.with_suffix(ending), (home / "panel").with_suffix(ending))
    results = home / "panel_scores.sscore"
    argv = (str(python), "-c", _GNOMON, str(home / "scores"), str(home / "panel"))
    cache = {"GNOMON_CACHE_DIR": str(home / "cache"), "XDG_CACHE_HOME": str(home / "cache")}
    written, plan, tables = "*.sscore", "cache", "scores/*.gnomon.tsv"
    said = (
        ("cold", partial(_remove, home, [written, plan, tables]), "parse, match, score, write"),
        ("warm", partial(_remove, home, [written, plan]), "match, score, write"),
        ("warm, matches kept", partial(_remove, home, [written]), "score, write"),
    )
    return [
        Command(tool="gnomon", mode=mode, argv=argv, environment=cache, ready=ready, results=results, inside=inside)
        for mode, ready, inside in said
    ]


def plink2(work: Work, scores: int) -> list[Command]:
    """Give plink2's two runs: a process for each score, and all scores as one matrix. Its tables are written before."""
    home = work.tool(f"plink2-{scores}")
    if not (home / "complete").is_file():
        subprocess.run(
            (sys.executable, "-m", "benchmarks.scoring.plink2_input", str(work.root), str(scores)), check=True
        )
    common = ["plink2", "--threads", THREADS, "--pfile", str(work.panel), "vzs"]
    lines = ["set -e"]
    for number in range(1, scores + 1):
        one = [*common, "--score", str(home / f"{pgs_id(number)}.tsv"), "1", "2", "3", "header", "no-mean-imputation"]
        lines.append(" ".join([*one, "cols=scoresums", "--out", str(home / "single" / pgs_id(number))]))
    (home / "single.sh").write_text("\n".join(lines) + "\n")
    columns = ("--score-col-nums", f"3-{scores + 2}", "--read-freq", str(home / "panel.afreq"))
    matrix = ("--score", str(home / "matrix.tsv"), "1", "2", "header-read", "cols=scoresums", *columns)
    said = (
        ("single", ("sh", str(home / "single.sh"))),
        ("multi", (*common, *matrix, "--out", str(home / "multi" / "all"))),
    )
    return [
        Command(
            tool="plink2", mode=mode, argv=argv, ready=partial(_empty, home / mode), results=home / mode,
            inside="score, write; parsed and matched before",
        )
        for mode, argv in said
    ]  # fmt: skip


def just_prs(work: Work, scores: int) -> list[Command]:
    """Give just-prs's reference batch, as it is and with its own setting for smaller chunks; one round each.

    It deletes a score file once it has made a table of it, so a cold run links them anew.
    """
    python = install(work, "just-prs", "just-prs[reference]==0.11.0", python=JUST_PRS_PYTHON)
    home = work.tool(f"just-prs-{scores}")
    for ending in (".pgen", ".pvar.zst", ".psam"):
        _link(work.panel.with_suffix(ending), (home / "panel" / "panel").with_suffix(ending))
    argv = (str(python), str(Path(__file__).with_name("just_prs_batch.py")), str(home / "panel"), str(home / "cache"))
    written = ["cache/reference_scores", "cache/percentiles"]
    cached = ["cache/scores/*.parquet", "panel/*.parquet", "panel/*.u8.zst"]
    quiet = {"PRS_CACHE_DIR": str(home / "cache"), "HF_HUB_OFFLINE": "1"}

    def made() -> None:
        _remove(home, [*written, *cached])
        _link_scores(work, scores, home / "cache" / "scores")

    kept = partial(_remove, home, written)
    runs: tuple[tuple[str, Callable[[], None], dict[str, str], str], ...] = (
        ("cold", made, {}, "the panel's table, parse, match, score, distributions, write"),
        ("warm", kept, {}, "match, score, distributions, write"),
        ("warm, PRS_GENO_CHUNK_SIZE=4000", kept, {"PRS_GENO_CHUNK_SIZE": "4000"}, "match, score, distributions, write"),
    )
    return [
        Command(
            tool="just-prs", mode=mode, argv=argv, environment={**quiet, **extra}, ready=ready,
            results=home / "cache" / "reference_scores", inside=inside, rounds=1,
        )
        for mode, ready, extra, inside in runs
    ]  # fmt: skip


def _link_scores(work: Work, scores: int, folder: Path) -> None:
    for number in range(1, scores + 1):
        _link(work.scores / file_name(number), folder / file_name(number))


def _link(original: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)
    name.hardlink_to(original)


def _remove(home: Path, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        for path in home.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
