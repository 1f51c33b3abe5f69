"""The people of a panel: who they are, which population they stand for, and who is related to another of them.

Labels are data: which column holds them is chosen by the column's name, what they say is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.sites import lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MALE: Final = 1
FEMALE: Final = 2
UNKNOWN: Final = 0
EVERYBODY: Final = "all"
"""The population of everybody where the file has no column of labels."""

_OURS: Final = ("sample", "family", "father", "mother", "sex", "population", "unrelated")
_IN_PSAM: Final = {"IID": "sample", "FID": "family", "PAT": "father", "MAT": "mother", "SEX": "sex"}
_IN_FAM: Final = ("FID", "IID", "PAT", "MAT", "SEX", "PHENO1")
_LABELS: Final = ("superpop", "superpopulation", "geneticregion", "region", "population", "pop")
_SEXES: Final = {"1": MALE, "M": MALE, "MALE": MALE, "2": FEMALE, "F": FEMALE, "FEMALE": FEMALE}
_NOBODY: Final = ("", "0", "NA")
_YES: Final = ("TRUE", "T", "1", "YES", "Y")
LISTS_OF_RELATIVES: Final = (".king.cutoff.out.id", ".king.cutoff.id")
"""What the names of plink2's lists of relatives end with."""
_GENOTYPES: Final = (".pgen", ".bed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The people of a panel in the order of its genotypes.

    Attributes:
        table: Columns sample, family, father, mother, sex (1 male, 2 female, 0 unknown), population, unrelated, and
            every other column of the file as text.
        population_column: The column that the labels come from; none where there is none.
        unrelated_rule: How it was decided who is unrelated, in words.
    """

    table: pl.DataFrame
    population_column: str | None
    unrelated_rule: str

    @property
    def n(self) -> int:
        """How many people there are."""
        return self.table.height

    @property
    def n_unrelated(self) -> int:
        """How many of them are no other's relative."""
        return int(self.table["unrelated"].sum())


def read_samples(
    path: Path,
    prefix: Path,
    *,
    build: Build | None = None,
    population: str | None = None,
    unrelated: Path | None = None,
) -> Samples:
    """Read a .psam or .fam file.

    Args:
        path: The file.
        prefix: The panel's prefix, beside which a list of relatives may stand.
        build: The panel's build; a list of relatives that says another one is not its own.
        population: The column of labels; otherwise the first one that is called as such columns are.
        unrelated: A list of the people to leave out as relatives, as plink2 writes it to *.king.cutoff.out.id.
    """
    read = _read(path)
    column = _label_column(path, read.columns, population)
    label = pl.col(column) if column else pl.lit(EVERYBODY)
    table = read.with_columns(label.alias("__label"))
    table = table.rename({name: ours for name, ours in _IN_PSAM.items() if name in table.columns})
    table = table.with_columns(
        pl.lit("").alias(ours) for ours in _IN_PSAM.values() if ours not in table.columns
    ).with_columns(
        pl.col("father").replace(dict.fromkeys(_NOBODY, "")),
        pl.col("mother").replace(dict.fromkeys(_NOBODY, "")),
        pl.col("sex").str.to_uppercase().replace_strict(_SEXES, default=UNKNOWN, return_dtype=pl.UInt8),
        population=pl.col("__label"),
    )
    alone, rule = _unrelated(table, prefix, build, unrelated)
    table = table.with_columns(unrelated=alone)
    others = [name for name in table.columns if name not in (*_OURS, "__label")]
    return Samples(table=table.select(*_OURS, *others), population_column=column, unrelated_rule=rule)


def _read(path: Path) -> pl.DataFrame:
    rows = [line for line in lines(path) if not line.startswith("##")]
    header = _split(rows[0].removeprefix("#")) if rows and rows[0].startswith("#") else None
    people = [_split(line) for line in (rows[1:] if header else rows)]
    if not people:
        raise PanelUnusable(path=path, reason="there is nobody in it")
    names = header or list(_IN_FAM)[: len(people[0])]
    for number, each in enumerate(people, start=1):
        if len(each) != len(names):
            raise PanelUnusable(path=path, reason=f"person {number} has {len(each)} columns, not {len(names)}")
    if "IID" not in names or len(set(names)) < len(names):
        raise PanelUnusable(path=path, reason="its header needs the column IID, and each column once")
    read = pl.DataFrame(people, schema=dict.fromkeys(_renamed(names), pl.String), orient="row")
    twice = read["IID"].filter(read["IID"].is_duplicated())
    if len(twice):
        raise PanelUnusable(path=path, reason=f"the sample {twice[0]!r} is in it more than once")
    return read


def _split(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _renamed(names: list[str]) -> list[str]:
    """Give columns that are called as one of ours a name of their own."""
    return [f"{name}_" if name in _OURS else name for name in names]


def _label_column(path: Path, names: Sequence[str], wanted: str | None) -> str | None:
    if wanted is None:
        plain = {name.lower().replace("_", ""): name for name in reversed(names)}
        return next((plain[label] for label in _LABELS if label in plain), None)
    found = _renamed([wanted])[0]
    if found not in names:
        raise PanelUnusable(path=path, reason=f"it has no column {wanted!r}; its columns are {', '.join(names)}")
    return found


def _unrelated(table: pl.DataFrame, prefix: Path, build: Build | None, named: Path | None) -> tuple[pl.Series, str]:
    own = (prefix.with_name(prefix.name + suffix) for suffix in LISTS_OF_RELATIVES)
    file = named or next((each for each in own if each.is_file()), None)
    column = next((name for name in table.columns if name.lower().rstrip("_") == "unrelated"), None)
    if file is None and column is None:
        file = _list_of_the_folder(prefix, build)
    if file is not None:
        alone = ~table["sample"].is_in(_listed(file))
        if not alone.any():
            raise PanelUnusable(path=file, reason="it lists everybody in the panel as a relative to be left out")
        return alone, f"without those in {file.name}"
    if column is not None:
        return table[column].str.to_uppercase().is_in(_YES), f"by the column {column}"
    parents = pl.col("father", "mother").is_in(table["sample"].to_list())
    alone = table.select(~pl.any_horizontal(parents)).to_series()
    if alone.all():
        return alone, "everybody: no list of relatives, and nobody's parent is in the panel"
    return alone, "without those whose father or mother is in the panel"


def _list_of_the_folder(prefix: Path, build: Build | None) -> Path | None:
    """Find the list that the catalogue's panels have beside them, as deg2_hg38.king.cutoff.out.id; never a guess.

    A list that belongs to another panel there, or says another build, is not meant.
    """
    lists = [
        file
        for suffix in LISTS_OF_RELATIVES
        for file in sorted(prefix.parent.glob(f"*{suffix}"))
        if not any(file.with_name(file.name.removesuffix(suffix) + each).is_file() for each in _GENOTYPES)
        and (build is None or Build.in_name(file.name) in {None, build})
    ]
    if len(lists) > 1:
        names = ", ".join(each.name for each in lists)
        raise PanelUnusable(path=prefix, reason=f"several lists of relatives lie beside it ({names}): name its own")
    return lists[0] if lists else None


def _listed(file: Path) -> list[str]:
    """Read the people to leave out; a list of those to keep, which plink2 writes beside it, is refused."""
    if file.name.endswith(".in.id"):
        raise PanelUnusable(path=file, reason="it lists the people to keep; give the list of those to leave out")
    rows = [line.split() for line in lines(file)]
    if rows and rows[0][0].startswith("#"):
        header = [rows[0][0].removeprefix("#"), *rows[0][1:]]
        at = header.index("IID") if "IID" in header else 0
        return [row[at] for row in rows[1:] if len(row) > at]
    return [row[min(1, len(row) - 1)] for row in rows]
