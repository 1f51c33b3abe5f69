"""Runs just-prs's reference batch on local files; run by the Python of its own environment."""

from __future__ import annotations

import sys
from pathlib import Path

from just_prs.reference import compute_reference_prs_batch  # type: ignore[import-not-found]

panel, cache = map(Path, sys.argv[1:])
ids = sorted({path.name.split("_")[0] for path in (cache / "scores").glob("PGS*")})
result = compute_reference_prs_batch(ids, panel, cache, genome_build="GRCh38", skip_existing=False)
bad = [outcome for outcome in result.outcomes if outcome.status == "failed"]
print(f"{len(result.outcomes)} scores, {len(bad)} failed", *[f"{each.pgs_id}: {each.error}" for each in bad], sep="\n")
sys.exit(bool(bad) or not result.outcomes)
