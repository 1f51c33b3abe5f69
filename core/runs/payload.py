r"""Lets a payload tell how it is getting on, from Python 3.6 on and without sluiceway being installed.

A copy lies beside every attempt as `sluiceway_payload`, on the payload's PYTHONPATH::

    from sluiceway_payload import context, metric, progress, result

    for number, path in enumerate(context()["inputs"].values()):
        progress(number, 22, what="chromosomes")
    result({"variants": 1205})

Each call appends one line of JSON to the file that SLUICEWAY_MESSAGES names, so a shell script needs no helper::

    printf '{"kind":"progress","done":%d,"of":%d}\n' 3 22 >>"$SLUICEWAY_MESSAGES"

Outside of a run, messages go nowhere and the context is empty: a script works the same by hand.
"""

import json
import os
import signal
from typing import Any, Callable, Dict, List, Optional


def context() -> Dict[str, Any]:
    """Give what the run has for the payload: inputs (name to path), outputs, parameters, paths, run, attempt."""
    place = os.environ.get("SLUICEWAY_CONTEXT")
    if place is None:
        return {"inputs": {}, "outputs": [], "parameters": {}, "paths": {}}
    with open(place, "rb") as file:
        return dict(json.loads(file.read().decode("ascii")))


def checkpoint() -> str:
    """Give the folder that outlives this attempt: what is written there, the next attempt finds there."""
    place = os.environ.get("SLUICEWAY_CHECKPOINT") or os.path.abspath("checkpoint")
    os.makedirs(place, exist_ok=True)
    return place


def when_time_is_short(act: Callable[[], Any]) -> None:
    """Call this when the time limit is near; it is to write the checkpoint, and may then end the program.

    It is called between two steps of Python, so not while a long call into a library goes on.
    """
    signal.signal(signal.SIGUSR1, lambda _number, _frame: act())


def metric(name: str, value: float, step: Optional[int] = None) -> None:
    """Tell a figure, such as a loss; `step` says after how much work."""
    _append({"kind": "metric", "name": name, "value": value, "step": step})


def progress(done: float, of: float, what: str = "work") -> None:
    """Tell how much is done of all there is."""
    _append({"kind": "progress", "done": done, "of": of, "what": what})


def artifact(name: str, markdown: Optional[str] = None, table: Optional[List[Dict[str, Any]]] = None) -> None:
    """Show a text, or the rows of a table, on the run's page; the same name again shows the newer one."""
    _append({"kind": "artifact", "name": name, "markdown": markdown, "table": table})


def result(value: Any) -> None:
    """Give what whoever started the run gets back: anything that JSON can hold. The last one counts."""
    _append({"kind": "result", "value": value})


def log(text: str, level: str = "info") -> None:
    """Tell a line to the run's log: debug, info, warning or error."""
    _append({"kind": "log", "text": text, "level": level})


def _append(message: Dict[str, Any]) -> None:
    place = os.environ.get("SLUICEWAY_MESSAGES")
    if place is None:
        return
    line = json.dumps(message, allow_nan=False).encode("ascii") + b"\n"
    # One write to the end: lines of several processes do not mix.
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)
