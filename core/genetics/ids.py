"""Rows placed by the ids that they name, for a score that gives no positions or gives those of another build.

An id is a number: of `rs` and digits these digits, of anything else a hash with the highest bit set. A panel's ids are
kept beside its table, sorted. A row whose id the panel has gets the place of that variant and says which of the
entries there it is; from then on it is matched as any other.

>>> [hex(each) for each in id_codes(pl.Series(["rs429358", "rs07", ".", None])).tolist()]
['0x68d2e', '0xce876ad2bc33f431', '0x0', '0x0']
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl

from sluiceway.core.genetics.alleles import NONE, POSITION_SHIFT
from sluiceway.core.genetics.compiled import compiled
from sluiceway.core.genetics.match import NO_TYPE, Entries, Reason, type_of
from sluiceway.core.genetics.rows import Packed, Rows, pack
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.store.durable import write_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.genetics.alleles import Codes
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.variants import VariantTable

_NUMBERED: Final = r"^rs([1-9]\d{0,17})$"
_HASHED: Final = 1 << 63
_BETWEEN: Final = ";"
_PLACE: Final = np.uint64(POSITION_SHIFT)
_NOWHERE: Final = np.uint64(1)
_SEVERAL_PLACES, _OTHER_ALLELES = int(Reason.SEVERAL_PLACES), int(Reason.OTHER_ALLELES)


class Ids(NamedTuple):
    """A panel's ids, sorted, and the entry that has each."""

    code: Codes
    entry: Codes


class _Wanted(NamedTuple):
    """The alleles of each row, and where those that have its id stand among the ids."""

    effect: Codes
    other: Codes
    low: NDArray[np.intp]
    high: NDArray[np.intp]


def packer(table: VariantTable, entries: Entries, policy: Policy) -> Callable[[pl.DataFrame, int], Packed]:
    """Give what packs the rows of the score with a number, by position or by id as the policy asks."""
    if policy.match == "position":
        return lambda rows, number: pack(rows, number, policy)
    ids = panel_ids(table)
    return lambda rows, number: pack_by_id(rows, number, policy, ids=ids, entries=entries)


def pack_by_id(rows: pl.DataFrame, number: int, policy: Policy, *, ids: Ids, entries: Entries) -> Packed:
    """Pack rows at the places where a panel has their ids; those without one are left, each with its reason."""
    key, why = _placed(rows, ids, entries, flip=policy.flip)
    order = np.argsort(key, kind="stable")
    packed = pack(rows.with_columns(key=pl.Series(key))[order], number, policy)
    line = rows["row_nr"].to_numpy()
    reasons = np.zeros(int(line.max(initial=0)) + 1, np.uint8)
    reasons[line] = why
    reason = reasons[packed.rows.row]
    is_left = reason != 0
    return Packed(
        rows=packed.rows.take(~is_left),
        left=Rows.joined([packed.left, packed.rows.take(is_left)]),
        reason=np.concatenate([packed.reason, reason[is_left]]),
    )


def panel_ids(table: VariantTable) -> Ids:
    """Open the ids of a prepared panel; the first time, they are written beside its table, named by their digest."""
    for file in table.folder.glob("ids-*.npy"):
        if digest_of_file(file) == _digest_in(file):
            return Ids(*np.load(file, mmap_mode="r"))
    ids = sorted_ids(table.ids())
    parts: list[bytes | memoryview] = [_header(2, ids.code.size), ids.code.data, ids.entry.data]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    file = table.folder / f"ids-{digest.hexdigest()}.npy"
    write_parts(file, parts)
    return Ids(*np.load(file, mmap_mode="r"))


def sorted_ids(parts: Iterable[pl.Series]) -> Ids:
    """Sort the ids of a panel's entries, part after part, of which one may have several; only numbers are kept."""
    codes, entries, first = [], [], 0
    for ids in parts:
        each = pl.DataFrame({"id": ids.str.split(_BETWEEN)}).with_row_index("entry", offset=first).explode("id")
        code = id_codes(each["id"])
        named = np.flatnonzero(code)
        codes.append(code[named])
        entries.append(each["entry"].to_numpy()[named])
        first += ids.len()
    code, entry = np.concatenate(codes), np.concatenate(entries)
    order = np.argsort(code, kind="stable")
    return Ids(code=code[order], entry=entry[order].astype(np.uint64))


def id_codes(ids: pl.Series) -> Codes:
    """Give the number of each id; 0 where there is none."""
    numbers = ids.str.extract(_NUMBERED).cast(pl.UInt64)
    is_other = (numbers.is_null() & ids.is_not_null() & ~ids.is_in(["", "."])).fill_null(value=False)
    codes: Codes = numbers.fill_null(0).to_numpy().copy()
    codes[is_other.to_numpy()] = [_hash(each) for each in ids.filter(is_other)]
    return codes


def _header(*shape: int) -> bytes:
    """Give what numpy writes before an array of numbers such as these."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<u8", "fortran_order": False, "shape": shape})
    return content.getvalue()


def _digest_in(file: Path) -> str:
    return f"sha256:{file.stem.removeprefix('ids-')}"


def _hash(name: str) -> int:
    return _HASHED | (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1)


def _placed(rows: pl.DataFrame, ids: Ids, entries: Entries, *, flip: bool) -> tuple[Codes, NDArray[np.uint8]]:
    """Give the key of each row's variant, or why there is none."""
    code = id_codes(rows["rsid"])
    low, high = (np.searchsorted(ids.code, code, side) for side in ("left", "right"))
    why = np.where(code == NONE, Reason.NO_ID, np.where(low == high, Reason.NOT_IN_PANEL, 0)).astype(np.uint8)
    key = np.full(code.size, _NOWHERE)
    effect, other = (rows[name].to_numpy() for name in ("effect", "other"))
    for_id = _Wanted(effect=effect, other=other, low=low, high=high)
    _choose(for_id, ids, entries, flip, key, why)
    return key, why


@compiled
def _choose(wanted: _Wanted, ids: Ids, entries: Entries, flip: bool, key: Codes, why: NDArray[np.uint8]) -> None:  # noqa: FBT001
    """Choose each row's best entry among those that have its id: of the best type, then the first in the file."""
    for row in range(key.size):
        if why[row] != 0:
            continue
        kind = NO_TYPE
        best = np.int64(ids.entry[wanted.low[row]])
        place = entries.key[best] >> _PLACE
        for each in range(wanted.low[row], wanted.high[row]):
            at = np.int64(ids.entry[each])
            if entries.key[at] >> _PLACE != place:
                why[row] = _SEVERAL_PLACES
                break
            fits = type_of(wanted.effect[row], wanted.other[row], entries.ref[at], entries.alt[at], flip)
            is_earlier = fits == kind and kind != NO_TYPE and entries.variant[at] < entries.variant[best]
            if fits < kind or is_earlier:
                kind, best = fits, at
        if why[row] == 0 and kind == NO_TYPE:
            why[row] = _OTHER_ALLELES
        if why[row] == 0:
            key[row] = place << _PLACE | np.uint64(_nth(entries.key, best))


@compiled
def _nth(keys: Codes, entry: np.int64) -> int:
    """Give which of the entries at its place an entry is, from 0 on."""
    first = entry
    while first > 0 and keys[first - 1] >> _PLACE == keys[entry] >> _PLACE:
        first -= 1
    return int(entry - first)
