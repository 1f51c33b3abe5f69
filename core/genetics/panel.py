"""A reference panel: three files with one prefix, the people in them, and one digest that tells it from any other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import InputMissing, PanelUnusable
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.samples import Samples, read_samples
from sluiceway.core.genetics.sites import told_build
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMS: Final = (
    (".pgen", (".pvar", ".pvar.zst", ".pvar.gz"), (".psam",)),
    (".bed", (".bim", ".bim.zst", ".bim.gz"), (".fam",)),
)
_MAGIC: Final = b"\x6c\x1b"
_BED: Final = 0x01
_INDEX_APART: Final = (0x11, 0x21)
_HEADER: Final = 12


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The files of a reference panel and what they tell of themselves.

    Attributes:
        genotypes: The .pgen or .bed file.
        build: As it was asked for, or as the variant file tells, or its name; none where none says.
        n_variants: Rows of the genotypes; a row may have several ALT alleles.
        is_bed: Whether the genotypes are in plink 1's form, where the number of people is in the .fam file only.
    """

    prefix: Path
    genotypes: Path
    variants: Path
    samples_file: Path
    build: Build | None
    samples: Samples
    n_variants: int
    is_bed: bool

    @cached_property
    def digest(self) -> str:
        """The panel's identity: its files' contents, wherever they are and whatever they are called."""
        return digest_of_panel({role: digest_of_file(file) for role, file in self.files.items()})

    @property
    def files(self) -> dict[str, Path]:
        """The panel's files, by what they hold."""
        return {"genotypes": self.genotypes, "variants": self.variants, "samples": self.samples_file}


def digest_of_panel(files: Mapping[str, str]) -> str:
    """Give the identity of the panel whose files have these digests, by what they hold."""
    return content_key("panel", inputs=files, parameters={}, modules={}, environment={})


def open_panel(
    prefix: Path, *, build: Build | None = None, population: str | None = None, unrelated: Path | None = None
) -> Panel:
    """Find a panel's files, read its people, and refuse files that do not belong together.

    Args:
        prefix: What the names of its files begin with; one of the files themselves will do.
        build: The panel's build, where its files do not tell it.
        population: The column of the sample file to take for population.
        unrelated: A list of the people to leave out as relatives.
    """
    if unrelated is not None and not unrelated.is_file():
        raise InputMissing(what="the list of relatives", path=unrelated)
    bare = _bare(prefix)
    genotypes, variants, people = _files(bare)
    build = build or told_build(variants) or Build.in_name(bare.name)
    samples = read_samples(people, bare, build=build, population=population, unrelated=unrelated)
    n_variants, is_bed = _shape(genotypes, samples.n)
    return Panel(
        prefix=bare,
        genotypes=genotypes,
        variants=variants,
        samples_file=people,
        build=build,
        samples=samples,
        n_variants=n_variants,
        is_bed=is_bed,
    )


def _bare(prefix: Path) -> Path:
    for genotypes, variants, people in _FORMS:
        for suffix in (genotypes, *variants, *people):
            if prefix.name.endswith(suffix):
                return prefix.with_name(prefix.name.removesuffix(suffix))
    return prefix


def _files(prefix: Path) -> tuple[Path, Path, Path]:
    for suffix, variants, people in _FORMS:
        genotypes = prefix.with_name(prefix.name + suffix)
        if genotypes.is_file():
            return genotypes, _sibling(prefix, variants), _sibling(prefix, people)
    for packed in (".pgen.zst", ".bed.gz", ".bed.zst"):
        if prefix.with_name(prefix.name + packed).is_file():
            raise PanelUnusable(path=prefix, reason=f"its genotypes are compressed; decompress the {packed} file first")
    raise PanelUnusable(path=prefix, reason="there is neither a .pgen nor a .bed file of that name")


def _sibling(prefix: Path, suffixes: tuple[str, ...]) -> Path:
    for suffix in suffixes:
        if (file := prefix.with_name(prefix.name + suffix)).is_file():
            return file
    raise PanelUnusable(path=prefix, reason=f"its {suffixes[0]} file is missing")


def _shape(path: Path, n_samples: int) -> tuple[int, bool]:
    """Give the number of variants, and whether the file is plink 1's; refuse one that is not of this many people."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        raise PanelUnusable(path=path, reason=f"it cannot be read: {error.strerror}") from error
    if len(header) < 3 or header[:2] != _MAGIC or header[2] in (0, *_INDEX_APART):
        raise PanelUnusable(
            path=path, reason="it does not begin as a .pgen or variant-major .bed file with its index does"
        )
    if header[2] == _BED:
        return _bed_variants(path, size, n_samples), True
    n_variants, written = (int.from_bytes(header[at : at + 4], "little") for at in (3, 7))
    if written != n_samples:
        raise PanelUnusable(path=path, reason=f"it has {written} samples, but the sample file has {n_samples}")
    if not n_variants:
        raise PanelUnusable(path=path, reason="there is no variant in it")
    return n_variants, False


def _bed_variants(path: Path, size: int, n_samples: int) -> int:
    row = (n_samples + 3) // 4
    n_variants, rest = divmod(size - 3, row)
    if rest or not n_variants:
        raise PanelUnusable(
            path=path,
            reason=f"its {size - 3} bytes of genotypes are no whole number of variants of the {n_samples} people in "
            "the sample file",
        )
    return n_variants
