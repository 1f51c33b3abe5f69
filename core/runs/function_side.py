"""Calls a function where its run runs: reads the call that lies beside it, and leaves one answer for each item.

It is started as `python3 function_side.py ITEM...` in the payload's working folder. Beside it lie the call, and
cloudpickle, so that nothing has to be installed there. Any Python since 3.6 can start it; the call itself needs the
minor version that pickled it, so this looks for one, or says what is missing before anything is read.

An answer is a line of JSON, which says in words what came of the item, and then a pickle: of what the function
returned, or of what it raised.
"""

import asyncio
import inspect
import json
import logging
import os
import pickle
import shutil
import sys
import traceback
from typing import Any, Dict, List, NoReturn, Tuple

CALL, FUNCTION, ITEMS = "call.json", "function.pickle", "items.pickle"
ANSWER = "{}.answer"
HERE = "--here"
UNUSABLE = 78
_LONGEST_MESSAGE = 10000
_FOLDER = os.path.dirname(os.path.abspath(__file__))


def main(words: List[str]) -> int:
    """Answer the items of these numbers; the exit code is 1 where one of them raised."""
    with open(os.path.join(_FOLDER, CALL), "rb") as file:
        call = json.loads(file.read().decode("ascii"))
    if words[:1] != [HERE]:
        _use_python_of(call, words)
        words = [HERE] + words
    wanted, found = call["version"], list(sys.version_info[:2])
    if wanted != found:
        _refuse(
            "the call was made by Python %d.%d, and %s is Python %d.%d: name one of the right version as environment"
            % (wanted[0], wanted[1], sys.executable, found[0], found[1])
        )
    # What the function prints is shown while it runs.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.path.append(os.path.join(os.path.dirname(_FOLDER), "lib"))
    numbers = [int(each) for each in words[1:]]
    return max(_answer(call, number) for number in numbers)


def _use_python_of(call: Dict[str, Any], items: List[str]) -> None:
    """Become the Python that the call names, or one of its version, unless this is it."""
    wanted = tuple(call["version"])
    python = call["python"]
    if python is None and sys.version_info[:2] != wanted:
        python = shutil.which("python%d.%d" % wanted)
    if python is None:
        return
    try:
        os.execv(python, [python, os.path.abspath(__file__), HERE] + items)
    except OSError as error:
        _refuse("%s cannot be started: %s" % (python, error.strerror))


def _answer(call: Dict[str, Any], number: int) -> int:
    """Call the function for one item, and write down what came of it; give 1 where it raised."""
    import sluiceway_payload  # noqa: PLC0415 - what comes with the run is there once main() has said where

    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", handlers=[_Told(sluiceway_payload)])
    try:
        function, given = _read(call, number)
        arguments = [given[place] for place in range(len(given)) if place in given]
        value = function(*arguments, **{name: each for name, each in given.items() if isinstance(name, str)})
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        content = _pickled(value, call["own"])
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        traceback.print_exc()
        _write(number, *_raised(error, call["own"]))
        return 1
    _write(number, {"kind": "returned"}, content)
    if call["is_single"]:
        _tell(sluiceway_payload, value, len(content))
    return 0


def _read(call: Dict[str, Any], number: int) -> Tuple[Any, Dict[Any, Any]]:
    """Give the function, and what it is given for one item, by position or name."""
    with open(os.path.join(_FOLDER, FUNCTION), "rb") as file:
        function, shared = pickle.load(file)  # noqa: S301 - it came with the run, from who started it
    start, size = call["items"][number]
    with open(os.path.join(_FOLDER, ITEMS), "rb") as file:
        file.seek(start)
        own = pickle.loads(file.read(size))  # noqa: S301
    shared.update(own)
    return function, shared


def _pickled(value: Any, own: List[str]) -> bytes:
    """Pickle an answer; classes of the caller's own modules go by name, for there they are what they are."""
    import io  # noqa: PLC0415
    import pkgutil  # noqa: PLC0415

    import cloudpickle  # noqa: PLC0415 - it lies beside this file

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type) and obj.__module__ in own and "<locals>" not in obj.__qualname__:
                return pkgutil.resolve_name, (obj.__module__ + ":" + obj.__qualname__,)
            return super().reducer_override(obj)

    buffer = io.BytesIO()
    Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _raised(error: BaseException, own: List[str]) -> Tuple[Dict[str, Any], bytes]:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    name = type(error).__module__ + "." + type(error).__qualname__
    told = {"kind": "raised", "type": name, "text": _text_of(error), "traceback": text}
    try:
        return told, _pickled(error, own)
    except Exception:  # noqa: BLE001 - the words are enough where the exception itself cannot travel
        return told, b""


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - somebody else's method
        return "its text cannot be made"


def _write(number: int, told: Dict[str, Any], content: bytes) -> None:
    """Write an answer: it is there whole, or not at all."""
    target = ANSWER.format(number)
    staged = "." + target
    with open(staged, "wb") as file:
        file.write(json.dumps(told).encode("ascii") + b"\n" + content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, target)


def _tell(payload: Any, value: Any, size: int) -> None:
    """Show what was returned on the run's page, where JSON can say it and it is short."""
    if value is None or size > _LONGEST_MESSAGE:
        return
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        return
    if same:
        payload.result(value)


class _Told(logging.Handler):
    """Sends what the function logs to the run's log."""

    def __init__(self, payload: Any) -> None:
        super().__init__()
        self._payload = payload

    def emit(self, record: logging.LogRecord) -> None:
        names = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))
        level = next((name for least, name in names if record.levelno >= least), "debug")
        self._payload.log(self.format(record), level)


def _refuse(why: str) -> NoReturn:
    sys.stderr.write("sluiceway: %s\n" % why)
    sys.exit(UNUSABLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
