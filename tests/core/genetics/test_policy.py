"""Policies by name, from a file, and changed: what can be followed, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluiceway.core.errors import InputMissing, PolicyInvalid
from sluiceway.core.genetics.policy import NAMED, Policy, read


def test_a_policy_is_a_name_or_a_file_with_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('ambiguous = "frequency"\nfrequency_margin = 0.2\n')
    assert read("catalogue") == Policy()
    assert read("just-prs", missing="mean") == NAMED["just-prs"].model_copy(update={"missing": "mean"})
    assert read(file, match="id") == Policy(ambiguous="frequency", frequency_margin=0.2, match="id")


@pytest.mark.parametrize(
    ("where", "changes", "said"),
    [
        ("catalog", {}, "neither a file nor one of: catalogue, just-prs"),
        ("catalogue", {"match": "name"}, r"cannot be followed: match: Input should be 'position' or 'id'"),
        ("catalogue", {"frequency_margin": 0.7}, "frequency_margin: Input should be less than 0.5"),
        ("catalogue", {"colour": "red"}, "colour: Extra inputs"),
        ("just-prs", {"match": "id"}, "cannot be followed: no_other_allele 'every' needs match 'position'"),
    ],
)
def test_a_policy_that_cannot_be_followed_says_why(where: str, changes: dict[str, object], said: str) -> None:
    with pytest.raises(PolicyInvalid, match=said):
        read(where, **changes)


@pytest.mark.parametrize("text", ["ambiguous = drop", "\xff"])
def test_a_file_that_is_no_toml_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(PolicyInvalid, match="it is not TOML"):
        read(file)


def test_a_policy_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"none\.toml"):
        read(tmp_path / "none.toml")
