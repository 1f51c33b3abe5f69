"""Small reference panels, written in full by a test: a row of calls per variant, a line of text per person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pgenlib


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant and everybody's call: two alleles as 0/1 or 0|1, or . for a missing call."""

    place: str
    ref: str
    alt: str
    calls: str

    @property
    def alleles(self) -> list[int]:
        pairs = (each.replace("|", "/").split("/") if each != "." else ("-9", "-9") for each in self.calls.split())
        return [int(allele) for pair in pairs for allele in pair]


def beside(prefix: Path, suffix: str) -> Path:
    """Give the file of a panel with this ending; a prefix may have dots of its own."""
    return prefix.with_name(prefix.name + suffix)


def write_psam(path: Path, text: str) -> None:
    path.write_text("\n".join("\t".join(line.split()) for line in text.strip().splitlines()) + "\n")


def write_pgen(prefix: Path, psam: str, rows: list[Row], header: str = "") -> Path:
    """Write a .pgen with its siblings, and give their prefix."""
    write_psam(beside(prefix, ".psam"), psam)
    lines = [
        "\t".join((*row.place.split(":"), f"v{number}", row.ref, row.alt, "."))
        for number, row in enumerate(rows)
    ]  # fmt: skip
    columns = "#CHROM\tPOS\tID\tREF\tALT\tINFO\n"
    beside(prefix, ".pvar").write_text(header + columns + "\n".join(lines) + "\n")
    most = max(row.alt.count(",") + 2 for row in rows)
    with pgenlib.PgenWriter(
        str(beside(prefix, ".pgen")).encode(), len(rows[0].alleles) // 2, variant_ct=len(rows), nonref_flags=False,
        allele_ct_limit=most, hardcall_phase_present=True,
    ) as writer:  # fmt: skip
        for row in rows:
            phased = np.array(["|" in each for each in row.calls.split()])
            alleles = np.array(row.alleles, np.int32)
            writer.append_partially_phased(alleles, phased, allele_ct=row.alt.count(",") + 2)
    return prefix


def write_bed(prefix: Path, people: list[str], rows: list[Row]) -> Path:
    """Write a .bed with its siblings: A1 of the .bim is ALT."""
    beside(prefix, ".fam").write_text("".join(f"0 {name} 0 0 {1 + at % 2} -9\n" for at, name in enumerate(people)))
    lines = [f"{row.place.split(':')[0]}\tv{at}\t0\t{row.place.split(':')[1]}\t{row.alt}\t{row.ref}\n"
             for at, row in enumerate(rows)]  # fmt: skip
    beside(prefix, ".bim").write_text("".join(lines))
    written = bytearray(b"\x6c\x1b\x01")
    for row in rows:
        pairs = np.array(row.alleles).reshape(-1, 2)
        codes = [{0: 3, 1: 2, 2: 0}.get(int(copies), 1) for copies in pairs.sum(axis=1)]
        for first in range(0, len(codes), 4):
            written.append(sum(code << 2 * at for at, code in enumerate(codes[first : first + 4])))
    beside(prefix, ".bed").write_bytes(written)
    return prefix
