"""Runs the payload of one attempt and writes down how it ended: the program that runs where the work is done.

It is started as `python3 -I jobside.py FOLDER` by Slurm, and as `python3 -I jobside.py --detach=SECONDS FOLDER` by
runs on one machine: then it comes back once the payload is about to start, and lives on in a session of its own; a
payload that is told to end has so many seconds. It needs Python 3.6 and nothing else, for login and compute nodes have
old Pythons and no packages; so it writes types as 3.6 reads them.

Everything it is to do stands in FOLDER/request.json. It runs the payload in a process group of its own, passes signals
on, waits, finds the declared outputs with their digests, and writes outcome.json last: whole and on the disk, or not at
all. For an element of an array, FOLDER is the one called t and its index inside the folder that was named.

An attempt runs at most once. started.json is written before the payload starts, and locked as long as anything of the
attempt lives: the payload inherits the lock, so even a payload whose jobside was killed is known to be running. On
Slurm, which starts a job once and starts it anew only with a higher restart count, the lock is left alone: a dead
node's lock on a network file system may outlive it.
"""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import signal
import socket
import stat
import sys
import tempfile
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Mapping, NoReturn, Optional, Tuple

REQUEST, CONTEXT, STARTED, OUTCOME = "request.json", "context.json", "started.json", "outcome.json"
STDOUT, STDERR, MESSAGES = "stdout.txt", "stderr.txt", "messages.jsonl"
INPUTS, WORK, SCRIPT, LIBRARY = "inputs", "work", "script", "lib"
READY = b"started\n"

CANNOT_WRITE, REFUSED = 74, 75
_NOT_EXECUTABLE, _NOT_FOUND, _BY_SIGNAL = 126, 127, 128
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGALRM)
_KIBIBYTE = 1024
_PIECE = 1 << 20


class Refused(Exception):
    """The attempt runs already, or has run."""


def main(words: List[str]) -> int:
    """Run an attempt; its payload's exit code is this program's, and a signal is 128 more than its number."""
    folder = os.path.abspath(os.fsencode(words[-1]))
    if words[1].startswith("--detach="):
        return _detach(folder, int(words[1].partition("=")[2]))
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        folder = os.path.join(folder, b"t" + os.environb[b"SLURM_ARRAY_TASK_ID"])
    try:
        return run(folder, os.environ)
    except (Refused, OSError) as error:
        return _refuse(folder, error, 2)


def run(folder: bytes, slurm: Mapping[str, str], *, asker: Optional[List[int]] = None, grace_seconds: int = 0) -> int:
    """Run the attempt in this folder to its end; the asker's first handle is told that it started, then all closed."""
    request = json.loads(_read(folder, REQUEST).decode("ascii"))
    started = _now()
    who = _who(slurm)
    lock = _claim(folder, who, started, alone="SLURM_JOB_ID" not in slurm)
    _write_whole(folder, CONTEXT, _context(folder, request, who))
    for place in (os.path.join(folder, WORK.encode()), _checkpoint(folder, request)):
        os.makedirs(place, exist_ok=True)
    _tell_ready(asker or [])
    payload = Payload(grace_seconds)
    status, usage = payload.run(_argv(folder, request), _environment(folder, request), folder)
    ended = _now()
    killed = os.WIFSIGNALED(status)
    ending = {
        "exit_code": None if killed else os.WEXITSTATUS(status),
        "signal": _signal_name(os.WTERMSIG(status)) if killed else None,
    }
    measured = {"peak_memory": usage.ru_maxrss * _KIBIBYTE, "cpu_seconds": usage.ru_utime + usage.ru_stime}
    times = {"started": started, "ended": ended, "host": socket.gethostname(), "warned": payload.was_warned}
    outputs = {"outputs": list(_outputs(os.path.join(folder, WORK.encode()), request["outputs"]))}
    _write_whole(folder, OUTCOME, dict(who, **ending, **times, **measured, **outputs))
    os.close(lock)
    return _BY_SIGNAL + os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)


class Payload:
    """One child in a process group of its own, which gets every signal that this program gets."""

    def __init__(self, grace_seconds: int) -> None:
        """Give a payload that is told to end so long before it is killed; 0 means that somebody else sees to that."""
        self._grace_seconds = grace_seconds
        self._group = 0
        self.was_warned = False

    def run(self, argv: List[bytes], environment: Dict[bytes, bytes], folder: bytes) -> Tuple[int, Any]:
        """Run a program to its end; give the status that the kernel gives, and what it used with its children."""
        # Blocked until the child has its own handlers: a signal must reach the payload, not this program's copy.
        signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGALRM, self._kill)
        self._group = os.fork()
        if self._group == 0:
            _become(argv, environment, folder)
        _lead_group(self._group)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        _, status, usage = os.wait4(self._group, 0)
        # What it left behind would go on writing to outputs that are about to be read; Slurm ends it as well.
        self._kill(0, None)
        return status, usage

    def _forward(self, number: int, _frame: Any) -> None:
        self.was_warned = self.was_warned or number == signal.SIGUSR1
        self._signal(number)
        if number == signal.SIGTERM and self._grace_seconds:
            signal.alarm(self._grace_seconds)

    def _kill(self, _number: int, _frame: Any) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # It may have ended just now.
        with contextlib.suppress(OSError):
            os.killpg(self._group, number)


def _become(argv: List[bytes], environment: Dict[bytes, bytes], folder: bytes) -> NoReturn:
    """Turn this fork into the payload."""
    try:
        os.setpgid(0, 0)
        for number in _FORWARDED + _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        os.chdir(os.path.join(folder, WORK.encode()))
        os.execvpe(argv[0], argv, environment)
    except (OSError, ValueError) as error:
        _say(2, "sluiceway: could not start %r: %s" % (_text(argv[0]), error))
        missing = getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTDIR)
        os._exit(_NOT_FOUND if missing else _NOT_EXECUTABLE)
    finally:
        # Whatever happens, this fork never goes on as a second jobside.
        os._exit(_NOT_EXECUTABLE)


def _lead_group(child: int) -> None:
    # The child does so itself, and may be another program by now.
    with contextlib.suppress(OSError):
        os.setpgid(child, child)


def _tell_ready(asker: List[int]) -> None:
    # Whoever asked may be gone, and the attempt goes on all the same; else they wait until all of these are closed.
    if asker:
        with contextlib.suppress(OSError):
            os.write(asker[0], READY)
    while asker:
        os.close(asker.pop())


def _detach(folder: bytes, grace_seconds: int) -> int:
    """Run the attempt in a session of its own, and come back once it has started or was refused."""
    told, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        os._exit(_detached(folder, ready, grace_seconds))
    os.close(ready)
    if _read_all(told) == READY:
        os.write(1, b"%d\n" % child)
        return 0
    _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else REFUSED


def _detached(folder: bytes, ready: int, grace_seconds: int) -> int:
    os.setsid()
    # Whoever started this hears of a refusal as well, unless they have gone.
    asker = [ready, os.dup(2)]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        for stream, name, flags in ((0, os.devnull, os.O_RDONLY), (1, STDOUT, append), (2, STDERR, append)):
            handle = os.open(os.path.join(folder, name.encode()), flags, 0o644)
            os.dup2(handle, stream)
            os.close(handle)
        return run(folder, {}, asker=asker, grace_seconds=grace_seconds)
    except (Refused, OSError) as error:
        return _refuse(folder, error, 2, *asker[1:])


def _claim(folder: bytes, who: Dict[str, Any], started: str, *, alone: bool) -> int:
    """Make this attempt ours, or raise Refused; the handle holds the lock, where nobody else sees to it."""
    lock = os.open(os.path.join(folder, STARTED.encode()), os.O_RDWR | os.O_CREAT, 0o644)
    if alone:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("this attempt is running already") from None
        os.set_inheritable(lock, True)
    before = os.pread(lock, _PIECE, 0)
    if before and _has_run(before, who):
        raise Refused("this attempt has run already")
    os.ftruncate(lock, 0)
    record = dict(who, started=started, pid=os.getpid(), born=_born(), host=socket.gethostname())
    os.pwrite(lock, json.dumps(record).encode("ascii"), 0)
    os.fsync(lock)
    _flush_folder(folder)
    return lock


def _has_run(before: bytes, who: Dict[str, Any]) -> bool:
    """Whether what is on record was a start, other than of an earlier run of this very job that Slurm put back."""
    try:
        record = json.loads(before.decode("ascii"))
    except ValueError:
        # The payload starts when all of the record is on the disk, so half of one is of no start.
        return False
    return not (record["job_id"] == who["job_id"] and record["restart"] < who["restart"])


def _who(slurm: Mapping[str, str]) -> Dict[str, Any]:
    """Tell which job this is: Slurm's, or a process of this machine."""
    if "SLURM_JOB_ID" not in slurm:
        return {"job_id": os.getpid(), "task": None, "restart": 0}
    # Slurm numbers every element of an array anew; the number that people know is the array's.
    number = slurm.get("SLURM_ARRAY_JOB_ID", slurm["SLURM_JOB_ID"])
    task = slurm.get("SLURM_ARRAY_TASK_ID")
    return {
        "job_id": int(number),
        "task": None if task is None else int(task),
        "restart": int(slurm.get("SLURM_RESTART_COUNT", "0")),
    }


def _born() -> Optional[str]:
    """Give when this process began, in the kernel's ticks: a number of a process alone may be somebody else's later."""
    try:
        with open("/proc/self/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return None


def _argv(folder: bytes, request: Dict[str, Any]) -> List[bytes]:
    enter = [os.fsencode(sys.executable), b"-I"] if request.get("enter") else []
    words = enter + [_bytes(each) for each in (*request.get("enter", ()), *request.get("launcher", ()))]
    if request["command"]:
        words += [_bytes(each) for each in request["command"]]
    else:
        script = os.path.join(folder, SCRIPT.encode())
        with open(script, "rb") as file:
            own = file.read(2) == b"#!"
        words += [script] if own else [b"sh", script]
    return words + [_bytes(each) for each in request["arguments"]]


def _environment(folder: bytes, request: Dict[str, Any]) -> Dict[bytes, bytes]:
    environment = dict(os.environb)
    library = os.path.join(folder, LIBRARY.encode())
    asked = {_bytes(name): _bytes(value) for name, value in request["environment"].items()}
    environment.update(asked)
    paths = [each for each in (library, environment.get(b"PYTHONPATH")) if each]
    environment[b"PYTHONPATH"] = b":".join(paths)
    environment[b"SLUICEWAY_CONTEXT"] = os.path.join(folder, CONTEXT.encode())
    environment[b"SLUICEWAY_MESSAGES"] = os.path.join(folder, MESSAGES.encode())
    environment[b"SLUICEWAY_CHECKPOINT"] = _checkpoint(folder, request)
    return environment


def _checkpoint(folder: bytes, request: Dict[str, Any]) -> bytes:
    """Give the folder that this attempt shares with those before and after it."""
    return os.path.normpath(os.path.join(folder, _bytes(request["checkpoint"])))


def _context(folder: bytes, request: Dict[str, Any], who: Dict[str, Any]) -> Dict[str, Any]:
    """Say to the payload what it has: where its inputs lie, what it is to make, with which parameters."""
    places = {"attempt": folder}
    for name, file in (("work", WORK), ("inputs", INPUTS), ("messages", MESSAGES)):
        places[name] = os.path.join(folder, file.encode())
    places["checkpoint"] = _checkpoint(folder, request)
    return {
        "run": request["key"],
        "attempt": request["attempt"],
        "restart": who["restart"],
        "inputs": {name: _text(os.path.join(places["inputs"], _bytes(name))) for name in request["inputs"]},
        "outputs": request["outputs"],
        "parameters": request["parameters"],
        "paths": {name: _text(place) for name, place in places.items()},
    }


def _outputs(work: bytes, patterns: List[str]) -> Iterator[Dict[str, Any]]:
    """Give every file that a pattern declares, a folder being the files in it; each once, with its patterns."""
    os.chdir(work)
    declared = {}  # type: Dict[bytes, List[str]]
    for pattern in patterns:
        for found in glob.glob(_bytes(pattern), recursive=True):
            for name in _files(found):
                declared.setdefault(name, []).append(pattern)
    for name in sorted(declared):
        yield dict(_output(name), name=_text(name), patterns=sorted(set(declared[name])))


def _files(place: bytes) -> Iterator[bytes]:
    if not os.path.isdir(place):
        yield os.path.normpath(place)
        return
    for folder, _, names in os.walk(place):
        for name in names:
            yield os.path.normpath(os.path.join(folder, name))


def _output(name: bytes) -> Dict[str, Any]:
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):
            return {"digest": None, "size": None, "error": "it is not a regular file"}
        digest, size = hashlib.sha256(), 0
        with open(name, "rb") as file:
            for piece in iter(lambda: file.read(_PIECE), b""):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        return {"digest": None, "size": None, "error": str(error.strerror)}
    return {"digest": "sha256:" + digest.hexdigest(), "size": size, "error": None}


def _write_whole(folder: bytes, name: str, content: Dict[str, Any]) -> None:
    """Write a file that is there whole, and on the disk, or as it was before."""
    target = os.path.join(folder, name.encode())
    handle, staged = tempfile.mkstemp(prefix=b"." + name.encode() + b".", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(content, sort_keys=True).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(staged, 0o644)
        os.rename(staged, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(staged)
        raise OSError("could not write %s: %s" % (name, error)) from error
    _flush_folder(folder)


def _flush_folder(folder: bytes) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(folder: bytes, name: str) -> bytes:
    with open(os.path.join(folder, name.encode()), "rb") as file:
        return file.read()


def _read_all(handle: int) -> bytes:
    with os.fdopen(handle, "rb") as file:
        return file.read()


def _refuse(folder: bytes, error: Exception, *streams: int) -> int:
    for stream in streams:
        _say(stream, "sluiceway: attempt %s: %s" % (_text(folder), error))
    return REFUSED if isinstance(error, Refused) else CANNOT_WRITE


def _say(stream: int, text: str) -> None:
    # Nobody may be left to tell, or no room to say so.
    with contextlib.suppress(OSError):
        os.write(stream, text.encode("utf-8", "replace") + b"\n")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        # Real-time signals have numbers only.
        return str(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
