"""A batch of scores as work for a cluster: what is asked for, which files go there, and what its elements are told."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Self

from sluiceway.core.genetics.results import scoring_software
from sluiceway.core.runs.memory import Budget
from sluiceway.core.runs.partials import partial_name, read_partial
from sluiceway.core.runs.request import Content, RunRequest
from sluiceway.core.runs.score_element import MODULE, ORDER, ROWS, TABLE, Order
from sluiceway.core.slurm.resources import Memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.genetics.reference import Reference, Staged
    from sluiceway.core.genetics.score import Partial
    from sluiceway.core.runs.access import Access

_PANELS: Final = "panels"
_SCRIPT: Final = "score.sh"
# The columns that every row has.
_ROW_BYTES: Final = 40
_MEBIBYTE: Final = 1 << 20
# Where nobody has scored before, the loops are compiled first.
_COMPILER: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A batch as a run: what is asked for, what its elements are told and take, and where here its files come to."""

    request: RunRequest
    order: Order
    memory: Memory
    scratch: Path

    @classmethod
    def of(
        cls,
        reference: Reference,
        staged: Staged,
        table: Mapping[str, Content],
        access: Access,
        *,
        inputs: PurePosixPath | None = None,
        runtime: Runtime | None = None,
    ) -> Self:
        """Say what is to be done on a cluster. Rows and the panel's table are inputs; the way there is not in the key.

        Args:
            reference: The panel.
            staged: The batch.
            table: The files of the panel's table, by the names of inputs.
            access: The cluster.
            inputs: Where the inputs lie there, unless it is where an element has them.
            runtime: What elements run in; none for the Python that the cluster's settings name.
        """
        batch, software = staged.batch, scoring_software()
        files = [staged.folder / f"{each.number}.rows" for each in reference.ranges]
        rows = {f"{ROWS}/{file.name}": Content.of(file, what="the rows") for file in files}
        asked = RunRequest(
            command=("sh", f"../../carried/{_SCRIPT}"),
            inputs={**rows, **table},
            environment={"POLARS_MAX_THREADS": "1", "PYTHONSAFEPATH": "1"},
            parameters={
                "panel": reference.table.digest,
                "scores": batch.scores,
                "policy": batch.policy.model_dump(exclude={"male_x", "min_overlap"}),
            },
            modules=software.modules,
            versions=software.environment,
            runtime=runtime,
            title=f"{batch.scores} scores, in {len(reference.ranges)} ranges of a panel",
        )
        prefix = there_of(PurePosixPath(reference.panel.prefix), access.settings.panels)
        known = access.base / _PANELS
        order = Order.made(reference, batch, key=asked.key, prefix=prefix, known=known, inputs=inputs)
        script = f'exec {shlex.quote(python_of(access, runtime))} -m {MODULE} "$@"\n'
        return cls(
            request=replace(asked, carried={ORDER: order.to_bytes(), _SCRIPT: script.encode()}),
            order=order,
            memory=_memory(reference, batch.scores, rows, workers=access.settings.resources.cpus or 1),
            scratch=staged.folder,
        )

    @property
    def rows(self) -> list[Content]:
        """The files of rows: no other work has the same."""
        return [each for name, each in self.request.inputs.items() if name.startswith(f"{ROWS}/")]

    def here(self, number: int) -> Path:
        """Give the place of what a range adds, once it is here."""
        return self.scratch / partial_name(number)

    def read(self, number: int) -> Partial:
        """Read what a range adds, or raise Damage."""
        return read_partial(self.here(number), key=self.order.key, number=number)

    def take(self, number: int) -> Partial:
        """Read what a range adds, and make room for others."""
        found = self.read(number)
        self.here(number).unlink()
        return found


def python_of(access: Access, runtime: Runtime | None) -> str:
    """Give the Python that scores on a cluster: the one of its settings, or the first on an environment's PATH."""
    return access.settings.python if runtime is None else "python3"


def table_files(folder: Path) -> dict[str, Content]:
    """Look at the files of a panel's table, by the names of inputs; elements ask for no variant's name."""
    files = [each for each in sorted(folder.iterdir()) if each.suffix in {".npy", ".json"}]
    return {f"{TABLE}/{each.name}": Content.of(each, what="the panel's table") for each in files}


def there_of(here: PurePosixPath, places: Mapping[str, str]) -> PurePosixPath:
    """Give the path that something has on a cluster, by the longest beginning that the settings know, or the same.

    >>> places = {"/data": "/scratch", "/data/1000g/all": "/projects/panels/1000g"}
    >>> [str(there_of(PurePosixPath(each), places)) for each in ("/data/mine", "/data/1000g/all", "/database/x")]
    ['/scratch/mine', '/projects/panels/1000g', '/database/x']
    """
    for begin, there in sorted(places.items(), key=lambda each: -len(each[0])):
        if here.is_relative_to(begin):
            return PurePosixPath(there) / here.relative_to(begin)
    return here


def _memory(reference: Reference, scores: int, rows: Mapping[str, Content], *, workers: int) -> Memory:
    """Give what an element takes at most, where the scores have their share of the rows each."""
    share = sum(each.size for each in rows.values()) // _ROW_BYTES // max(scores, 1)
    needed = Budget(limit=0, workers=workers).needed(reference, [share] * scores)
    return Memory(needed // _MEBIBYTE + _COMPILER)
