"""Prints the sums of just-prs 0.11.0 on the cases of tests/core/genetics/test_just_prs.py, to make its numbers again.

In the top folder, the first command writes the cases into a folder, the second runs this file in an environment of
just-prs's own and prints what test_just_prs.py holds::

    .venv/bin/python -m tests.core.genetics.test_just_prs /tmp/cases
    zstd /tmp/cases/panel.pvar
    HF_HUB_OFFLINE=1 PRS_CACHE_DIR=/tmp/cases/cache .tools/bin/uv run --no-project --python 3.13 \
        --with 'just-prs[reference]==0.11.0' python benchmarks/scoring/just_prs_sums.py /tmp/cases
"""

from __future__ import annotations

import sys
from pathlib import Path

from just_prs.reference import compute_reference_prs_polars  # type: ignore[import-not-found]

CODINGS = ("score_copies", "score_dosage_compensation")


def main(folder: Path) -> None:
    lines: list[tuple[str, object]] = []
    for file in sorted(folder.glob("*.txt.gz")):
        name = file.name.removesuffix(".txt.gz")
        try:
            sums = compute_reference_prs_polars(name, file, folder, folder / "work")
            lines.append((name, [[round(each, 6) for each in sums[coding]] for coding in CODINGS]))
        except Exception as error:  # noqa: BLE001 - whatever it says is what it does
            lines.append((name, type(error).__name__))
    sys.stdout.writelines(f"{name!r}: {answer!r},\n" for name, answer in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
