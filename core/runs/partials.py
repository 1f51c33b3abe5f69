"""What one range adds to every score of a batch, as a file that travels.

It is a sealed line that says what follows and of which work it is a part, and then the arrays as they are in memory. A
file that is not as it was written, or is of other work, is none. What became of each row does not travel: it is counted
already, and as long as the rows.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sluiceway.core.genetics.match import Matches
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.score import Partial
from sluiceway.core.store.durable import write_parts
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_VERSION: Final = 2
_LONGEST_LINE: Final = 1 << 16
_ARRAYS: Final = ("diploid", "haploid", "missing", "used", "reasons", "mass", "missing_mass")

NO_MATCHES: Final = Matches(reason=np.empty(0, np.uint8), type=np.empty(0, np.uint8), entry=np.empty(0, np.intp))


def partial_name(number: int) -> str:
    """Give what the file of a range is called."""
    return f"{number}.partial"


def write_partial(path: Path, partial: Partial, *, key: str, number: int) -> None:
    """Write what the range of this number adds, as a part of the work of this key; the file is whole or not there."""
    arrays = {name: np.ascontiguousarray(array) for name in _ARRAYS if (array := getattr(partial, name)) is not None}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.data)
    line = sealed(
        {
            "version": _VERSION,
            "key": key,
            "range": number,
            "ploidy": int(partial.ploidy),
            "digest": f"sha256:{digest.hexdigest()}",
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        }
    )
    write_parts(path, [line, *(array.data for array in arrays.values())])


def read_partial(path: Path, *, key: str, number: int) -> Partial:
    """Read what a range adds; raise Damage unless the file is as it was written, and of this work."""
    with path.open("rb") as file:
        said = unsealed(file.readline(_LONGEST_LINE), name=path.name)
        content = file.read()
    if (said["version"], said["key"], said["range"]) != (_VERSION, key, number):
        raise Damage(f"{path.name} is of other work")
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != said["digest"]:
        raise Damage(f"{path.name} is not as it was written")
    arrays: dict[str, NDArray[Any]] = {}
    at = 0
    for name, dtype, shape in said["arrays"]:
        arrays[name] = np.frombuffer(content, dtype, int(np.prod(shape)), at).reshape(shape)
        at += arrays[name].nbytes
    return Partial(
        ploidy=Ploidy(said["ploidy"]),
        found=NO_MATCHES,
        **{name: arrays.get(name) for name in _ARRAYS},  # type: ignore[arg-type]
    )
