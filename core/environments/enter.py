"""Enters an environment where the work is done, and becomes the payload.

It is started by jobside as `python3 -I enter.py ACTIVATION FOLDER PAYLOAD...`, needs Python 3.6 and nothing else, and
is replaced by the payload: signals and exit codes are the payload's own; of a container it waits for the end. An
environment that this node cannot use is said, and the payload does not start: exit code 78.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any, Dict, List, Optional, Tuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

UNFIT = 78
ENTERED = "entered.json"
_OURS = b"SLUICEWAY_"


class Unfit(Exception):
    """This node cannot use the environment."""


def main(words: List[str]) -> int:
    """Become the payload, or say why not."""
    with open(words[1], "rb") as file:
        activation = json.loads(file.read().decode("ascii"))
    folder = os.path.abspath(os.fsencode(words[2]))
    try:
        argv, environment, record, watch = entered(activation, folder, [os.fsencode(each) for each in words[3:]])
        _write(folder, record)
        if watch is not None:
            return int(watch.run(argv))
        os.execvpe(argv[0], argv, environment)
    except (Unfit, OSError) as error:
        text = "sluiceway: the environment %s cannot be used on %s: %s\n" % (
            activation["name"],
            os.uname().nodename,
            error,
        )
        os.write(2, text.encode("utf-8", "replace"))
    return UNFIT


def entered(
    activation: Dict[str, Any], folder: bytes, argv: List[bytes]
) -> Tuple[List[bytes], Dict[bytes, bytes], Dict[str, Any], Any]:
    """Give the command that runs the payload inside, its variables, what is to be known of it, and who watches it."""
    _require_fit(activation)
    environment = _environment(activation, folder)
    record = {"environment": activation["name"], "host": os.uname().nodename}  # type: Dict[str, Any]
    if activation["python"]:
        record["python"] = _version(_bytes(activation["python"]))
    watch = None
    if activation["container"] is not None:
        import contained  # noqa: PLC0415 - it lies beside this program

        try:
            argv, environment, ran, watch = contained.command(activation["container"], folder, argv, environment)
        except contained.NoContainer as error:
            raise Unfit(str(error)) from error
        record["container"] = ran
    return [_bytes(each) for each in activation["prefix"]] + argv, environment, record, watch


def _require_fit(activation: Dict[str, Any]) -> None:
    here = os.uname().machine
    if activation["machine"] not in ("", here):
        raise Unfit("it was made for %s, and this node is %s" % (activation["machine"], here))
    for each in activation["sealed"]:
        if not os.path.exists(_bytes(each)):
            raise Unfit("%s is missing; asked for again, the run brings it there anew" % each)
    python = _bytes(activation["python"])
    version = _version(python)
    if version and not os.path.isdir(os.path.join(os.path.dirname(python), b"../lib/python" + os.fsencode(version))):
        where = os.fsdecode(os.path.realpath(python))
        raise Unfit("it has no packages for Python %s, and that is what %s is" % (version, where))


def _version(python: bytes) -> Optional[str]:
    """Give the version of an interpreter without starting it: as the name of its file tells; none where it does not."""
    found = re.match(rb"python(\d+\.\d+)$", os.path.basename(os.path.realpath(python))) if python else None
    return found.group(1).decode() if found else None


def _environment(activation: Dict[str, Any], folder: bytes) -> Dict[bytes, bytes]:
    before = dict(os.environb)
    environment = _after(activation["prepare"], before) if activation["prepare"] else dict(before)
    _put_before(environment, b"PATH", activation["path"])
    _put_before(environment, b"PYTHONPATH", activation["python_path"])
    environment.update({_bytes(name): _bytes(value) for name, value in activation["variables"].items()})
    # Neither a profile nor the environment overrides what the request itself says.
    environment.update({name: before[name] for name in _asked(folder) if name in before})
    # What is ours is this payload's, but where the environment says so itself: its source is not that of another one,
    # in which this one was asked for.
    own = {_bytes(name) for name in activation["variables"]}
    environment.update({name: before[name] for name in before if name.startswith(_OURS) and name not in own})
    return environment


def _put_before(environment: Dict[bytes, bytes], name: bytes, folders: List[str]) -> None:
    if folders:
        have = [environment[name]] if environment.get(name) else []
        environment[name] = b":".join([_bytes(each) for each in folders] + have)


def _asked(folder: bytes) -> List[bytes]:
    """Give the names of the variables that the request sets."""
    with open(os.path.join(folder, b"request.json"), "rb") as file:
        return [_bytes(name) for name in json.loads(file.read().decode("ascii"))["environment"]]


def _after(shell: List[str], environment: Dict[bytes, bytes]) -> Dict[bytes, bytes]:
    """Give the environment that a shell has after its work; it writes it to the handle that its $1 names."""
    told, writing = os.pipe()
    argv = [_bytes(each) for each in shell]
    # The words after the shell's own name are its values; the handle goes first.
    at = argv.index(b"--") + 1
    argv = argv[: at - 1] + [b"sluiceway", b"%d" % writing] + argv[at:]
    try:
        child = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[writing])
    except OSError as error:
        raise Unfit("%s does not start: %s" % (shell[0], error)) from error
    finally:
        os.close(writing)
    with os.fdopen(told, "rb") as file:
        content = file.read()
    if child.wait() != 0:
        raise Unfit("it could not be activated: %s ended with exit code %d" % (shell[0], child.returncode))
    lines = (each.partition(b"=") for each in content.split(b"\0") if each)
    return {name: value for name, _, value in lines}


def _write(folder: bytes, record: Dict[str, Any]) -> None:
    """Say beside the attempt's other files what really runs."""
    # Several tasks of a step enter at once, on several nodes.
    staged = os.path.join(folder, b".%s.%s.%d" % (ENTERED.encode(), os.fsencode(os.uname().nodename), os.getpid()))
    with open(staged, "wb") as file:
        file.write(json.dumps(record, sort_keys=True).encode("ascii"))
    os.rename(staged, os.path.join(folder, ENTERED.encode()))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
