"""Asks just-prs's own reader what it knows and where values stand: by its own Python, without any network."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path


def nowhere(*_: object, **__: object) -> None:
    raise OSError("no network here")


def main(cache: Path, questions: Path) -> None:
    socket.socket.connect = nowhere  # type: ignore[method-assign]
    from just_prs.prs_catalog import PRSCatalog  # type: ignore[import-not-found]  # noqa: PLC0415

    catalog = PRSCatalog(cache_dir=cache)
    answers = []
    for asked in json.loads(questions.read_text()):
        found = catalog.percentile_full(asked.pop("value"), asked.pop("pgs_id"), **asked)
        answers.append([found.method, found.percentile, found.z_score, found.reference_mean, found.reference_std])
    known = catalog.reference_distributions("1000g").collect()["pgs_id"].unique().sort().to_list()
    sys.stdout.write(json.dumps({"answers": answers, "known": known}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
