"""The obvious slow scorer: text in, one sample and one row at a time, in float64. What the engine must agree with."""

from __future__ import annotations

from dataclasses import dataclass, replace

COMPLEMENT = {"A": "T", "T": "A", "C": "G", "G": "C"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """A row of a .pvar, and each sample's two alleles by number (None where the call is missing)."""

    position: int
    ref: str
    alts: tuple[str, ...]
    calls: list[tuple[int, int] | None]

    @property
    def called(self) -> list[int]:
        return [allele for call in self.calls if call for allele in call]

    def share(self, allele: int) -> float:
        return self.called.count(allele) / len(self.called)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a score: what none, one and two copies of the effect allele count."""

    position: int
    effect: str
    other: str | None
    counts: tuple[float, float, float]
    is_dominance: bool = False


def expected(row: Row, share: float) -> float:
    none, one, two = row.counts
    if row.is_dominance:
        return share * two
    return (1 - share) ** 2 * none + 2 * share * (1 - share) * one + share**2 * two


def candidates(row: Row, sites: list[Site], *, flip: bool) -> list[tuple[int, int, Site, int]]:
    """Every way in which a row fits: (type, order, site, number of the effect allele), the best first."""
    found = []
    for order, site in enumerate(each for each in sites if each.position == row.position):
        for number, alt in enumerate(site.alts, start=1):
            for strand in (0, 2) if flip and row.effect in COMPLEMENT and (row.other or "A") in COMPLEMENT else (0,):
                effect, other = (
                    (COMPLEMENT[row.effect], row.other and COMPLEMENT[row.other]) if strand else (row.effect, row.other)
                )
                if other is None:
                    kinds = [(4, site.ref, 0), (5, alt, number)]
                    found += [(kind + strand, order, site, which) for kind, allele, which in kinds if effect == allele]
                elif (effect, other) == (site.ref, alt):
                    found.append((strand, order, site, 0))
                elif (effect, other) == (alt, site.ref):
                    found.append((1 + strand, order, site, number))
    return sorted(found, key=lambda each: each[:2])


def is_palindromic(site: Site) -> bool:
    return any(COMPLEMENT.get(site.ref) == alt for alt in site.alts)


def scaled(counts: tuple[float, float, float], share: float, copies: str) -> tuple[float, float, float]:
    """What none, one and two copies count, less what is expected, and in standard deviations, as plink2 has it."""
    expects = 2 * share * counts[1]
    deviation = (2 * share * (1 - share)) ** 0.5 if copies == "standardised" else 1.0
    none, one, two = ((each - expects) / deviation if deviation else 0.0 for each in counts)
    return none, one, two


def score(rows: list[Row], sites: list[Site], sample: int, *, missing: str, copies: str = "plain") -> float:
    """One sample's sum by the default policy: no palindromes, no multi-allelic rows, no duplicates."""
    best = [next(iter(candidates(row, sites, flip=True)), None) for row in rows]
    met = [id(each[2]) for each in best if each]
    total = 0.0
    for row, found in zip(rows, best, strict=True):
        if found is None or len(found[2].alts) > 1 or is_palindromic(found[2]) or met.count(id(found[2])) > 1:
            continue
        site, allele = found[2], found[3]
        call = site.calls[sample]
        share = site.share(allele)
        counting = row if copies == "plain" else replace(row, counts=scaled(row.counts, share, copies))
        if call is not None:
            total += counting.counts[call.count(allele)]
        elif missing == "mean":
            total += expected(counting, share)
        elif missing == "zero":
            total += counting.counts[0]
    return total
