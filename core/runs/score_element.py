"""Scores some ranges of a batch where an element of a Slurm array runs, or says why that cannot be done there.

Started as `python -m sluiceway.core.runs.score_element RANGE...` in the element's working folder, it finds the order
among what the array carries, the panel's table and the batch's rows among its inputs, and writes a file for each range.
Started with `check` alone, it reads an order from standard input, and tells whether this machine has the panel and the
code that the order was made with. Both compare before anything is scored: others would give other sums.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from sluiceway.core.genetics.reference import Reference, Staged, Threads
from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.genetics.score import REASONS, Batch
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.software import Software
from sluiceway.core.provenance.statcache import is_racy
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.partials import partial_name, write_partial
from sluiceway.core.store.durable import content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import PurePosixPath

    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.genetics.score import Partial

MODULE: Final = "sluiceway.core.runs.score_element"
CHECK: Final = "check"
REFUSED: Final = 78
ORDER, TABLE, ROWS = "order", "table", "rows"
# An element's working folder is two levels below the one that all elements share.
_CARRIED, _INPUTS = Path("../../carried"), Path("../../inputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a batch's elements are told. The pickles are read where the same code was found, and nowhere else.

    Attributes:
        key: The key of the batch, which its partial results repeat.
        panel: The digest of the panel's files.
        known: The folder there in which digests of panels are remembered.
        software: The code that the order was made with.
        pickled: The panel, and then its reference and the batch; all paths are of the cluster.
    """

    key: str
    panel: str
    known: str
    software: Software
    pickled: bytes

    @classmethod
    def made(
        cls,
        reference: Reference,
        batch: Batch,
        *,
        key: str,
        prefix: PurePosixPath,
        known: PurePosixPath,
        inputs: PurePosixPath | None = None,
    ) -> Self:
        """Make the order for a batch, by this code; there, the names of the panel's files begin with `prefix`."""
        panel = _moved(reference.panel, Path(prefix))
        table = replace(reference.table, folder=Path(inputs or _INPUTS) / TABLE)
        return cls(
            key=key,
            panel=reference.table.digest,
            known=str(known),
            software=scoring_software(),
            pickled=pickle.dumps(panel) + pickle.dumps((replace(reference, panel=panel, table=table), batch)),
        )

    def to_bytes(self) -> bytes:
        """Write it: a line of JSON, then the pickles."""
        told = {"key": self.key, "panel": self.panel, "known": self.known, "software": asdict(self.software)}
        return json.dumps(told).encode("ascii") + b"\n" + self.pickled

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Read what `to_bytes` gave; the pickles are not looked at."""
        line, _, pickled = content.partition(b"\n")
        told = json.loads(line)
        return cls(**{**told, "software": Software(**told["software"])}, pickled=pickled)

    def problem(self) -> str | None:
        """Say why this machine cannot score for the order; none where it can."""
        differing = _differing(self.software, scoring_software())
        if differing is not None:
            return f"sluiceway there, or what it uses, is of another version: {differing} differs"
        panel: Panel = pickle.loads(self.pickled)  # noqa: S301 - it came from who started this, and code is the same
        try:
            found = _digest_of(panel, Path(self.known))
        except OSError as error:
            return f"the panel cannot be read there: {error.strerror}: {str(error.filename)!r}"
        return None if found == self.panel else f"the panel {str(panel.prefix)!r} there is another one"

    def score(self, numbers: list[int]) -> None:
        """Score ranges at once, each into a file in the working folder."""
        for number, partial in self.partials(numbers, _INPUTS):
            write_partial(Path(partial_name(number)), partial, key=self.key, number=number)

    def partials(self, numbers: list[int], inputs: Path) -> Iterator[tuple[int, Partial]]:
        """Score ranges at once, with the rows in this folder; give each with its number."""
        stream = io.BytesIO(self.pickled)
        pickle.load(stream)  # noqa: S301 - as above
        reference, batch = pickle.load(stream)  # noqa: S301
        nothing = np.zeros((batch.scores, REASONS))
        staged = Staged(
            folder=inputs / ROWS,
            batch=batch,
            unread=frozenset(),
            reasons=nothing.astype(np.int64),
            mass=nothing,
            complex={},
        )
        parts = [each for each in reference.ranges if each.number in numbers]
        partials = Threads(workers=len(parts))(reference, staged, parts)
        for part, partial in zip(parts, partials, strict=True):
            yield part.number, partial


def main(words: list[str]) -> int:
    """Check, or score."""
    if words == [CHECK]:
        problem = Order.of(sys.stdin.buffer.read()).problem()
        sys.stdout.write(f"@problem {' '.join((problem or '').split())}\n@end\n")
        return 0
    order = Order.of((_CARRIED / ORDER).read_bytes())
    problem = order.problem()
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
        return REFUSED
    order.score([int(each) for each in words])
    return 0


def _moved(panel: Panel, prefix: Path) -> Panel:
    """Give a panel whose files are called the same, but for what they begin with."""
    files = {
        name: prefix.with_name(prefix.name + path.name.removeprefix(panel.prefix.name))
        for name in ("genotypes", "variants", "samples_file")
        if isinstance(path := getattr(panel, name), Path)
    }
    return replace(panel, prefix=prefix, **files)  # type: ignore[arg-type]


def _differing(ours: Software, theirs: Software) -> str | None:
    """Name the first module or distribution that is another one; none where all are the same."""
    for one, other in ((ours.modules, theirs.modules), (ours.environment, theirs.environment)):
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name):
                return name
    return None


def _digest_of(panel: Panel, known: Path) -> str:
    """Give the digest of a panel's files; files that look as they did when they were read are not read again."""
    files = (panel.genotypes, panel.variants, panel.samples_file)
    before, seen = _looks(files), _now()
    record = known / digest_of_bytes(repr((sorted(map(str, files)), before)).encode()).rpartition(":")[2][:32]
    try:
        return str(unsealed(content_of(record) or b"", name=record.name)["panel"])
    except (Damage, KeyError):
        digest = panel.digest
    # A file that was changed while it was read, or just before, may have got other bytes since.
    if _looks(files) == before and not any(is_racy(file.stat(), seen) for file in files):
        known.mkdir(parents=True, exist_ok=True)
        write_whole(record, sealed({"panel": digest}))
    return digest


def _looks(files: Iterable[Path]) -> list[tuple[int, ...]]:
    return [_look(file.stat()) for file in files]


def _look(status: os.stat_result) -> tuple[int, ...]:
    # Not the device: each node may number a network file system otherwise.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _now() -> int:
    return int(SystemClock().now().timestamp() * 1e9)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
