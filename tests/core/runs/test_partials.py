"""What a range adds, as a file: every array comes back with its bits, and a file that is not whole does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.score import REASONS, Partial
from sluiceway.core.runs.partials import NO_MATCHES, read_partial, write_partial
from sluiceway.core.store.record import Damage

KEY = "sha256:ab"


def made(*, ploidy: Ploidy = Ploidy.X) -> Partial:
    random = np.random.default_rng(1)
    sums = random.normal(size=(3, 5))
    return Partial(
        ploidy=ploidy,
        diploid=None if ploidy is Ploidy.Y else sums,
        haploid=None if ploidy is Ploidy.AUTOSOME else -sums,
        missing=random.integers(0, 9, (3, 5)).astype(np.int32),
        used=np.arange(3),
        reasons=random.integers(0, 9, (3, REASONS)),
        mass=random.normal(size=(3, REASONS)),
        missing_mass=random.random(3),
        found=NO_MATCHES,
    )


@pytest.mark.parametrize("ploidy", [Ploidy.AUTOSOME, Ploidy.X, Ploidy.Y])
def test_what_a_range_adds_comes_back_with_every_bit(tmp_path: Path, ploidy: Ploidy) -> None:
    before = made(ploidy=ploidy)
    write_partial(tmp_path / "7", before, key=KEY, number=7)
    after = read_partial(tmp_path / "7", key=KEY, number=7)
    assert after.ploidy is ploidy
    for name in ("diploid", "haploid", "missing", "used", "reasons", "mass", "missing_mass"):
        was, now = getattr(before, name), getattr(after, name)
        assert (was is None) == (now is None)
        assert was is None or (was.dtype == now.dtype and was.tobytes() == now.tobytes() and was.shape == now.shape)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_changed_byte_is_damage(tmp_path: Path, at: int) -> None:
    write_partial(tmp_path / "7", made(), key=KEY, number=7)
    content = bytearray((tmp_path / "7").read_bytes())
    content[at] ^= 1
    (tmp_path / "7").write_bytes(content)
    with pytest.raises(Damage):
        read_partial(tmp_path / "7", key=KEY, number=7)


@pytest.mark.parametrize("left", [0, 100, 2000])
def test_a_file_that_was_cut_short_is_damage(tmp_path: Path, left: int) -> None:
    write_partial(tmp_path / "7", made(), key=KEY, number=7)
    (tmp_path / "7").write_bytes((tmp_path / "7").read_bytes()[:left])
    with pytest.raises(Damage):
        read_partial(tmp_path / "7", key=KEY, number=7)


@pytest.mark.parametrize(("key", "number"), [("sha256:cd", 7), (KEY, 8)])
def test_a_part_of_other_work_is_damage(tmp_path: Path, key: str, number: int) -> None:
    write_partial(tmp_path / "7", made(), key=KEY, number=7)
    with pytest.raises(Damage, match="of other work"):
        read_partial(tmp_path / "7", key=key, number=number)
