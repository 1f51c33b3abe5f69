"""Holds one part of an engine on its node: gives it ports and a short folder, keeps its log, and ends all of it.

It is started as `python3 -I holder.py ORDER` on the node, by srun or as a child; ORDER is a JSON text. It prints one
line of JSON, the facts of this node, and then runs what it was told until that ends, until it is told to end itself, or
until its standard input says so, or closes: whoever held that open was killed then, and nothing is to outlive them.

Words of the form {cpus}, {memory}, {gpus}, {node}, {tmp} and {port0} stand for what there is on this node. It needs
Python 3.6 and nothing else, like jobside.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NoReturn, Sequence, Set, Tuple

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.ports import NoPorts, take_ports
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from ports import NoPorts, take_ports

# The longest name of a socket in there is Ray's, of 65 bytes; our own folder's takes 13, and all may be 107.
_LONGEST_FOLDER = 28
_PIECE = 64
_PREFIX, _MARK, _NAME_BYTES = "sw-", ".sluiceway", 256
_PAUSE_SECONDS, _SYNC_SECONDS, _KILL_SECONDS = 0.2, 5.0, 5.0
_SUBREAPER = 36
_MEBIBYTE = 1 << 20
_NO_PORTS, _NOT_FOUND, _BY_SIGNAL = 73, 127, 128


def main(words: List[str]) -> int:
    """Do what the order says; the exit code is that of what it ran."""
    try:
        return Holder(json.loads(words[1])).run()
    except (NoPorts, OSError) as error:
        sys.stderr.write("sluiceway: %s on %s\n" % (error, socket.gethostname()))
        return _NO_PORTS


class Holder:
    """One program on this node, with all that belongs to it."""

    def __init__(self, order: Dict[str, Any]) -> None:
        """Know what to run: argv, env, node, log, ports, share, sync, only, grace."""
        self._order = order
        self._is_over = self._is_in_a_hurry = False
        self._copied: Dict[str, int] = {}
        self._synced_at = 0.0

    def run(self) -> int:
        """Run it to its end, or to ours; leave no process and no folder behind."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        _adopt_orphans()
        remove_what_the_dead_left()
        folder, mark = short_folder()
        try:
            return self._run_in(folder)
        finally:
            _remove(folder)
            os.close(mark)

    def _run_in(self, folder: str) -> int:
        first, lock = take_ports(self._order["ports"])
        facts = dict(facts_here(os.environ, self._order["share"]), tmp=folder, node=self._order["node"])
        facts.update(("port%d" % number, first + number) for number in range(self._order["ports"]))
        child = self._start(facts)
        _say(json.dumps(dict(facts, pid=child, holder=os.getpid(), host=socket.gethostname()), sort_keys=True))
        try:
            code = self._wait(child, folder)
        finally:
            if self._is_in_a_hurry:
                # Slurm is about to kill us as well. What is killed writes nothing more, but takes a moment to be gone.
                kill_all()
                self._sync(folder)
                _remove(folder)
            end_all(child, 0 if self._is_in_a_hurry else self._order["grace"])
            self._sync(folder)
        if lock is not None:
            lock.close()
        return code

    def _start(self, facts: Mapping[str, Any]) -> int:
        argv = [filled(each, facts) for each in self._order["argv"]]
        environment = dict(os.environ, SLUICEWAY_NODE=self._order["node"])
        environment.update((name, filled(value, facts)) for name, value in self._order["env"].items())
        child = os.fork()
        if child == 0:
            _become(argv, environment, self._order["log"])
        return child

    def _wait(self, child: int, folder: str) -> int:
        """Give how it ended; where it was ended from here, say so."""
        while not self._is_over:
            status = reaped().get(child)
            if status is not None:
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else _BY_SIGNAL + os.WTERMSIG(status)
            ready, _, _ = select.select([0], [], [], _PAUSE_SECONDS)
            if ready:
                # Whoever says nothing was killed, and Slurm is about to do the same to us.
                self._is_over, self._is_in_a_hurry = True, not os.read(0, _PIECE)
            if time.monotonic() - self._synced_at > _SYNC_SECONDS:
                self._sync(folder)
        return 0

    def _end(self, _number: int, _frame: Any) -> None:
        # Slurm asks once, and does not wait long: what lies about here is to go before that.
        self._is_over = self._is_in_a_hurry = True

    def _sync(self, folder: str) -> None:
        """Bring what the program's own logs have grown by to where they outlive this node's folder."""
        self._synced_at = time.monotonic()
        if self._order["sync"]:
            source = os.path.join(folder, self._order["sync"])
            copy_growth(source, os.path.splitext(self._order["log"])[0], self._copied, self._order["only"])


def facts_here(variables: Mapping[str, str], share: int = 1) -> Dict[str, Any]:
    """Tell what there is for us on this node: processors, bytes of memory, GPUs; of a machine, a share."""
    if "SLURM_JOB_ID" not in variables:
        cpus, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return {"cpus": max(cpus // share, 1), "memory": memory // share, "gpus": _gpus(variables)}
    cpus = int(variables.get("SLURM_CPUS_ON_NODE", "1"))
    mebibytes = int(variables.get("SLURM_MEM_PER_NODE", "0"))
    mebibytes = mebibytes or cpus * int(variables.get("SLURM_MEM_PER_CPU", "0"))
    memory = mebibytes * _MEBIBYTE or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpus": cpus, "memory": memory, "gpus": _gpus(variables)}


def _gpus(variables: Mapping[str, str]) -> int:
    if "SLURM_GPUS_ON_NODE" in variables:
        return int(variables["SLURM_GPUS_ON_NODE"])
    return len([each for each in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if each not in ("", "-1")])


def filled(text: str, facts: Mapping[str, Any]) -> str:
    """Put this node's facts where the text names them."""
    for name, value in facts.items():
        text = text.replace("{%s}" % name, str(value))
    return text


def short_folder() -> Tuple[str, int]:
    """Make a folder on this node with a short path: names of sockets below it have 107 bytes in all.

    It is marked as ours for as long as the handle is open, here or in what is started here.
    """
    for place in _places():
        with contextlib.suppress(OSError):
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
            mark = os.open(os.path.join(folder, _MARK), os.O_RDWR | os.O_CREAT, 0o600)
            # Without locks nobody can tell that it is in use, so that nobody may ever take it for left behind.
            with contextlib.suppress(OSError):
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(mark, os.uname().nodename.encode())
                os.set_inheritable(mark, True)  # noqa: FBT003 - it takes no name
            return folder, mark
    raise OSError("there is no place for a folder with a short path")


def _places() -> List[str]:
    asked = [os.environ.get("SLURM_TMPDIR", ""), os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp"]  # noqa: S108 - a new folder in it
    return [each for each in asked if each and len(each) <= _LONGEST_FOLDER] + [os.path.expanduser("~")]


def remove_what_the_dead_left() -> None:
    """Remove folders that holders of this user on this node made, and were killed before they could remove."""
    for place in set(_places()):
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if name.startswith(_PREFIX):
                    _remove_if_left(os.path.join(place, name))


def _remove_if_left(folder: str) -> None:
    """Remove a folder that has our mark, of which it says this node, and that no process holds any more."""
    with contextlib.suppress(OSError):
        found = os.lstat(folder)
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            return
        mark = os.open(os.path.join(folder, _MARK), os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that says nothing is about to be locked by who makes it, or cannot be.
            if os.read(mark, _NAME_BYTES) == os.uname().nodename.encode():
                _remove(folder)
        finally:
            os.close(mark)


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def copy_growth(source: str, target: str, copied: Dict[str, int], only: Sequence[str] = ()) -> None:
    """Append to copies of files, all or those of these names, what those have grown by since the last time."""
    for folder, _, names in os.walk(source):
        for name in filter(only.__contains__, names) if only else names:
            path = os.path.join(folder, name)
            # A log may go while it is read.
            with contextlib.suppress(OSError):
                copied[path] = _copied(path, os.path.join(target, os.path.relpath(path, source)), copied.get(path, 0))


def _copied(path: str, place: str, begin: int) -> int:
    """Copy what a log says from here on, and give where that ends; one that is shorter than it was has begun anew."""
    found = os.stat(path)
    begin = 0 if found.st_size < begin else begin
    if not stat.S_ISREG(found.st_mode) or found.st_size == begin:
        return begin
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(path, "rb") as old, open(place, "ab") as new:
        old.seek(begin)
        shutil.copyfileobj(old, new)
        return old.tell()


def end_all(child: int, grace: float) -> None:
    """End a program and whatever it has started, wherever that has gone: asked first, then made to."""
    _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and descendants(os.getpid()):
        reaped()
        time.sleep(_PAUSE_SECONDS / 4)
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline and kill_all():
        time.sleep(_PAUSE_SECONDS / 4)
        reaped()


def kill_all() -> bool:
    """Kill whatever comes from this process and lives; give whether anything did."""
    left = descendants(os.getpid())
    for each in left:
        with contextlib.suppress(OSError):
            os.kill(each, signal.SIGKILL)
    return bool(left)


def descendants(ancestor: int) -> Set[int]:
    """Find the processes that come from this one and live."""
    parents = dict(_parents())
    found = {ancestor}
    while True:
        more = {each for each, parent in parents.items() if parent in found} - found
        if not more:
            return found - {ancestor}
        found |= more


def _parents() -> Iterator[Tuple[int, int]]:
    """Give each living process with its parent (proc(5), field 4 of stat); zombies do not count."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                with open("/proc/%s/stat" % name, "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    yield int(name), int(fields[1])


def reaped() -> Dict[int, int]:
    """Take note of children that have ended, each with its status."""
    found = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                break
            found[child] = status
    return found


def _adopt_orphans() -> None:
    """Become the parent of what our children leave behind, so that it is found in the end (prctl(2))."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _become(argv: List[str], environment: Dict[str, str], log: str) -> NoReturn:
    """Turn this fork into the program, in a session of its own."""
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        # Warnings of the time limit are for the payload; an engine that knows none would die of them.
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.execvpe(argv[0], argv, environment)
    except (OSError, ValueError) as error:
        os.write(2, ("sluiceway: could not start %s: %s\n" % (argv[0], error)).encode("utf-8", "replace"))
    finally:
        # Whatever happens, this fork never goes on as a second holder.
        os._exit(_NOT_FOUND)


def _signal_group(child: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(child, number)


def _say(line: str) -> None:
    # Whoever asked may be gone.
    with contextlib.suppress(OSError):
        os.write(1, line.encode("ascii") + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
