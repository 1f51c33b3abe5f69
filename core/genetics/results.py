"""Results of scores as objects in a store: keyed by what went in, verified when read."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.software import Software, software_of
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.store.objects import ObjectStore

_AFTERWARDS = {"male_x", "min_overlap"}


def scoring_software() -> Software:
    """Give the code that results depend on."""
    return software_of("sluiceway.core.genetics.reference")


def result_key(score: str, panel: str, policy: Policy, software: Software) -> str:
    """Give the key of a score's result, by the digests of the score's content and of the prepared panel.

    How men's X is shown and which overlap is enough are decided when results are shown, so they are not in it.
    """
    return content_key(
        "reference score",
        inputs={"score": score, "panel": panel},
        parameters=policy.model_dump(exclude=_AFTERWARDS),
        modules=software.modules,
        environment=software.environment,
    )


def keep(store: ObjectStore, key: str, result: ScoreResult) -> None:
    """Put a result into the store."""

    def write(path: Path) -> None:
        result.people.write_parquet(path, compression="zstd")

    facts = {name: value for name, value in asdict(result).items() if name != "people"}
    store.put(key, write, facts=facts)


def find(store: ObjectStore, key: str) -> ScoreResult | None:
    """Give a result whose every byte is as it was stored; none where there is none, or it is damaged."""
    found = store.opened(key)
    if found is None:
        return None
    stored, content = found
    facts: Mapping[str, Any] = stored.facts
    return ScoreResult(
        people=frames.read_parquet(io.BytesIO(content)),
        reasons=facts["reasons"],
        mass={name: float(each) for name, each in facts["mass"].items()},
        missing_mass=float(facts["missing_mass"]),
        used=facts["used"],
    )
