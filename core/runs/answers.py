"""What the elements of an array leave: an answer for each item, brought home and told apart from none."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import RunFailed
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.runs.function import answer_of, has_returned
from sluiceway.core.runs.receipt import Output, RunReceipt, tail_of
from sluiceway.core.runs.remains import manifest_of
from sluiceway.core.slurm.job import EndingKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from sluiceway.core.provenance.manifest import Manifest
    from sluiceway.core.runs.array import ArrayHost
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import Attempt
    from sluiceway.core.slurm.job import Ending, JobId

# Relative to the run's folder, for a receipt names the answers of all attempts.
_ANSWER = re.compile(r"a\d+/t\d+/work/(\d+)\.answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one item: a file that tells it, or none where its element came to nothing."""

    path: Path | None
    failure: RunFailed

    def value(self) -> Any:
        """Give what the function returned, or raise what it raised, or RunFailed."""
        if self.path is None:
            raise self.failure
        return answer_of(self.path, self.failure)


def results_in(receipt: RunReceipt) -> dict[int, Output]:
    """Give the answers, by item, of those calls that returned; a damaged one is none."""
    return {number: each for number, each in _by_item(receipt.outputs).items() if _is_result(receipt.path(each), each)}


def answers_before(receipt: RunReceipt | None, attempt: Attempt) -> tuple[Output, ...]:
    """Give the answers of earlier attempts that still hold: results, and all of items that are not made again."""
    if receipt is None:
        return ()
    again = {int(item) for element in attempt.elements for item in element.arguments}
    results = results_in(receipt)
    return tuple(each for number, each in _by_item(receipt.outputs).items() if number in results or number not in again)


async def bring_answers(attempt: Attempt, endings: Mapping[int, Ending], host: ArrayHost) -> tuple[Output, ...]:
    """Bring home what the elements of an attempt made, and what those that failed complained of."""
    folder = attempt.folder
    elements = {index: folder.element(index) for index in endings}
    ended = [elements[index] for index, ending in endings.items() if ending.outcome is not None]
    told = [each.entered for each in ended] if attempt.request.runtime is not None else []
    await host.fetch_all(folder, {_inside(folder, each): None for each in (*(one.outcome for one in ended), *told)})
    made = {place: output for each in ended for place, output in await asyncio.to_thread(_made, folder, each)}
    await host.fetch_all(folder, made)
    failed = [elements[index] for index, ending in endings.items() if not ending.succeeded]
    await host.fetch_all(folder, {_inside(folder, each.stderr): None for each in failed})
    there = asyncio.to_thread(
        lambda: [each for place, each in made.items() if _is_there(Path(folder.path / place), each)]
    )
    return tuple(await there)


def array_receipt(
    attempt: Attempt, job: JobId, endings: Mapping[int, Ending], outputs: tuple[Output, ...], n_items: int
) -> RunReceipt:
    """Say how an array ended: well, if every item has a result, of this attempt or an earlier one."""
    run, outcomes = attempt.folder.run, [each.outcome for each in endings.values() if each.outcome is not None]
    work = Path(run.path)
    n_done = sum(_is_result(work / each.name, each) for each in _by_item(outputs).values())
    return RunReceipt(
        key=run.key,
        run_id=run.run_id,
        attempt=attempt.folder.number,
        place=attempt.place,
        job_id=str(job),
        ending=EndingKind.SUCCEEDED if n_done == n_items else EndingKind.FAILED,
        why=f"{n_done} of {n_items} calls have a result",
        exit_code=None,
        signal=None,
        folder=Path(attempt.folder.path),
        stdout=Path(attempt.folder.stdout),
        stderr=Path(attempt.folder.stderr),
        work=work,
        outputs=outputs,
        started=min((each.started for each in outcomes), default=None),
        ended=max((each.ended for each in outcomes), default=None),
        host=None,
        peak_memory=max((each.peak_memory for each in outcomes if each.peak_memory is not None), default=None),
        cpu_seconds=None,
    )


def array_manifest(attempt: Attempt, receipt: RunReceipt) -> Manifest:
    """Say how the answers of this attempt came to be; those of earlier ones stand in their own manifests."""
    inside = f"{attempt.folder.path.name}/"
    made = tuple(
        replace(each, name=each.name.removeprefix(inside)) for each in receipt.outputs if each.name.startswith(inside)
    )
    # The names are relative to the attempt's folder, not to a working directory in it.
    return manifest_of(attempt.request, replace(receipt, outputs=made)).model_copy(update={"output_type": "array"})


def answers_in(receipt: RunReceipt, n_items: int, failures: Mapping[int, RunFailed] | None = None) -> list[Answer]:
    """Give the answer of each item, in their order; the failures are those of the items' elements."""
    paths = {number: receipt.path(each) for number, each in _by_item(receipt.outputs).items()}
    by_item = failures or {}
    return [Answer(path=paths.get(number), failure=by_item.get(number, receipt.failure)) for number in range(n_items)]


def failures_of(attempt: Attempt, endings: Mapping[int, Ending]) -> dict[int, RunFailed]:
    """Say for each item of an attempt how its element ended."""
    found = {}
    for index, element in enumerate(attempt.elements):
        folder, ending = attempt.folder.element(index), endings[index]
        what = "no whole answer came back" if ending.succeeded else str(ending.kind)
        why = f"{what} in element {index} of job {ending.job.whole}: {ending.evidence}"
        failure = RunFailed(run=folder.run.run_id, why=why, folder=Path(folder.path), tail=tail_of(Path(folder.stderr)))
        found.update(dict.fromkeys(map(int, element.arguments), failure))
    return found


def _by_item(outputs: tuple[Output, ...]) -> dict[int, Output]:
    """Sort answers by their item; of several the last one counts."""
    found = ((_ANSWER.fullmatch(each.name), each) for each in outputs)
    return {int(match[1]): each for match, each in found if match}


def _is_result(path: Path, output: Output) -> bool:
    return _is_there(path, output) and has_returned(path)


def _is_there(path: Path, output: Output) -> bool:
    return path.is_file() and digest_of_file(path) == output.digest


def _made(folder: AttemptFolder, element: AttemptFolder) -> list[tuple[PurePosixPath, Output]]:
    """Give what an element made: its place in the attempt's folder, and what the run calls it."""
    outcome = json.loads(Path(element.outcome).read_bytes())
    places = [(_inside(folder, element.output(each["name"])), each) for each in outcome["outputs"] if each["digest"]]
    return [
        (place, Output(name=f"{folder.path.name}/{place}", digest=each["digest"], size=each["size"]))
        for place, each in places
    ]


def _inside(folder: AttemptFolder, place: PurePosixPath) -> PurePosixPath:
    return place.relative_to(folder.path)
