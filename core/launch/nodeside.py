"""Starts an engine on the nodes of a job, runs the payload beside it, and ends the engine: what all launchers share.

A launcher's own program (dask_side.py and the like) lies beside this one and calls `launch`. It runs where the batch
script runs, as `python3 -I`, needs Python 3.6 and nothing else, and knows the job by Slurm's variables alone; without
Slurm, this machine is one node, or plays several.

Each part of the engine is a holder (holder.py): a step of srun on its node, or a child. Its standard input is a pipe
that this program holds open, so that no part outlives this program, however that ends. What a part prints is the file
`engine/PART.log` of the attempt, written on its node while it runs; `engine/connection.json` tells where the engine is.
"""

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, List, Mapping, Optional, Sequence

if TYPE_CHECKING or __package__:
    from sluiceway.core.launch.allocation import Node, for_srun, nodes, share, step
    from sluiceway.core.launch.children import FORWARDED, LOST, NOT_READY, Failed, complain, end_like, spawn
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from allocation import Node, for_srun, nodes, share, step
    from children import FORWARDED, LOST, NOT_READY, Failed, complain, end_like, spawn

ENGINE, CONNECTION, OVER = "engine", "connection.json", b"over\n"
_GRACE_SECONDS, _SPARE_SECONDS, _PAUSE_SECONDS = 5.0, 10.0, 0.1
_TAIL_BYTES, _TAIL_LINES, _PIECE = 1 << 14, 30, 1 << 16


class Ended(Exception):
    """This program was told to end before the payload began."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Part:
    """One part of the engine: a program on a node, as far as this program sees it."""

    def __init__(self, name: str, node: Node, *, is_vital: bool, folder: str) -> None:
        self.name, self.node, self.is_vital = name, node, is_vital
        # Whether the payload's work is done there; a vital part may do some as well.
        self.works = not is_vital
        self.log = os.path.join(folder, name + ".log")
        self.said = os.path.join(folder, name + ".srun.log")
        self.facts: Dict[str, Any] = {}
        self.status: Optional[int] = None
        self.process = 0
        self.told = self.held = -1
        self._line = b""

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "it runs"
        if os.WIFSIGNALED(self.status):
            return "it was ended by signal %d" % os.WTERMSIG(self.status)
        return "it ended with exit code %d" % os.WEXITSTATUS(self.status)

    def look(self) -> None:
        """See whether it has said where it is, and whether it has ended."""
        while not self.facts and select.select([self.told], [], [], 0)[0]:
            piece = os.read(self.told, _PIECE)
            self._line += piece
            with contextlib.suppress(ValueError):
                self.facts = dict(json.loads(self._line.decode("ascii")))
            if not piece:
                break
        if self.status is None:
            child, status = os.waitpid(self.process, os.WNOHANG)
            self.status = status if child else None

    def tail(self) -> str:
        """Give the end of what it printed, and of what srun said."""
        return "\n".join(filter(None, (_tail(self.log), _tail(self.said)))) or "(it printed nothing)"


class Engine:
    """The parts of an engine, and the payload that uses it: `with Engine(...) as engine`."""

    def __init__(self, name: str, nodes: List[Node], folder: str) -> None:
        """Keep logs and connection.json in this folder."""
        self.nodes, self.folder = nodes, folder
        # Called now and then while the payload runs, by whoever knows more of the engine than its parts tell.
        self.watch: Callable[[], None] = lambda: None
        # How long what a payload leaves behind may go on, to write what it still has to.
        self.linger_seconds = 0.0
        # How long a part has to end by itself when it is told to.
        self.grace_seconds = _GRACE_SECONDS
        self._parts: List[Part] = []
        self._payload = 0
        self._waiting: List[int] = []
        self._connection: Dict[str, Any] = {"launcher": name, "state": "starting", "pid": os.getpid()}
        self._awake, self._wake = os.pipe()

    def __enter__(self) -> "Engine":  # noqa: PYI034 - Python 3.6 has no Self
        os.makedirs(self.folder, exist_ok=True)
        os.set_blocking(self._wake, False)
        os.set_blocking(self._awake, False)
        signal.set_wakeup_fd(self._wake)
        for number in FORWARDED:
            signal.signal(number, self._hear)
        # Only to be woken: who has ended is asked for by number.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever asks again for the end is heard, and must not keep it from being tidy.
        for number in FORWARDED:
            signal.signal(number, signal.SIG_IGN)
        self.stop()

    def start(  # noqa: PLR0913 - one per thing that a part may want
        self,
        node: Node,
        argv: Sequence[str],
        *,
        name: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
        ports: int = 0,
        sync: str = "",
        only: Sequence[str] = (),
        is_vital: bool = False,
        is_child: bool = False,
    ) -> Part:
        """Start a part on a node; words such as {port0} stand for what its holder finds there.

        `sync` is a folder below {tmp} whose logs are kept beside the part's own, `only` those of these names; without a
        vital part, all is over. A child is no step of its own: a light part on this very node.
        """
        part = Part(name or node.name, node, is_vital=is_vital, folder=self.folder)
        order = {"argv": list(argv), "env": dict(env or {}), "node": node.name, "log": part.log, "ports": ports}
        order.update(share=share(self.nodes), sync=sync, only=list(only), grace=self.grace_seconds)
        holder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "holder.py")
        words = ([] if is_child else step(node)) + [sys.executable, "-I", holder, json.dumps(order)]
        stdin, part.held = os.pipe()
        part.told, stdout = os.pipe()
        part.process = spawn(words, for_srun(os.environ), stdin=stdin, stdout=stdout, stderr=part.said)
        os.close(stdin)
        os.close(stdout)
        self._parts.append(part)
        return part

    def facts(self, part: Part, seconds: float = 60.0) -> Dict[str, Any]:
        """Wait until a part has begun, and give what its node has for it: ports, cpus, memory, gpus, tmp, pid."""
        self.ready(tuple, seconds)
        return part.facts

    def ready(self, missing: Callable[[], Collection[str]], seconds: float) -> None:
        """Wait until all parts have begun and nothing is missing.

        Raises Failed with the end of the log of a part that ended, or that is late.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            for part in self._parts:
                if part.status is not None:
                    raise Failed(_letter(part, "did not start: %s" % part.ending))
            absent = [each.name for each in self._parts if not each.facts] or missing()
            if not absent:
                return
            if time.monotonic() > deadline:
                late = [each for each in self._parts if each.name in absent] or self._parts[:1]
                why = "was not ready within %g s (missing: %s)" % (seconds, ", ".join(sorted(absent)))
                raise Failed("\n".join(_letter(each, why) for each in late))
            self._sleep(_PAUSE_SECONDS)

    def connect(self, address: str, dashboard: str = "", **more: Any) -> None:
        """Tell in connection.json that the engine is ready, and where; Failed where others would not learn of it."""
        self._connection.update(more, address=address, dashboard=dashboard, state="ready")
        try:
            self._write_connection()
        except OSError as error:
            raise Failed("could not write %s: %s" % (os.path.join(self.folder, CONNECTION), error)) from error
        if dashboard:
            say(kind="link", name="%s dashboard" % self._connection["launcher"], url=dashboard)

    def run(self, argv: Sequence[str], variables: Mapping[str, str]) -> int:
        """Run the payload to its end beside the engine; give its status as the kernel does."""
        told = {"SLUICEWAY_LAUNCHER": self._connection["launcher"]}
        told["SLUICEWAY_ENGINE"] = os.path.join(self.folder, CONNECTION)
        self._payload = spawn(argv, dict(os.environ, **told, **variables), leads=True)
        for number in self._waiting:
            self._signal(number)
        left = {each.name for each in self._parts}
        while True:
            child, status = os.waitpid(self._payload, os.WNOHANG)
            if child:
                self._linger()
                return status
            self._look()
            self.watch()
            gone = [each for each in self._parts if each.status is not None and each.name in left]
            for part in gone:
                left.discard(part.name)
                self._report(part)
            if gone and not self._can_go_on(left):
                self._end_payload()
                raise Failed(_letter(gone[-1], "has left: %s; nothing is left to work with" % gone[-1].ending), LOST)
            self._sleep(1.0)

    def stop(self) -> None:
        """End the payload and all parts, these by closing what they hold on to; only then by their numbers."""
        self._end_payload()
        for part in self._parts:
            # It has its grace; one whose pipe just closes has none.
            with contextlib.suppress(OSError):
                os.write(part.held, OVER)
            os.close(part.held)
        for number, seconds in (
            (0, self.grace_seconds + _SPARE_SECONDS),
            (signal.SIGTERM, _SPARE_SECONDS),
            (signal.SIGKILL, 1),
        ):
            for part in self._parts:
                if number and part.status is None:
                    os.kill(part.process, number)
            if self._end_within(seconds):
                break
        if self._connection["state"] != "starting":
            self._connection["state"] = "over"
            self._rewrite_connection()

    def _end_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            if all(part.status is not None for part in self._parts):
                return True
            if time.monotonic() > deadline:
                return False
            self._sleep(_PAUSE_SECONDS)

    def _linger(self) -> None:
        deadline = time.monotonic() + self.linger_seconds
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                os.killpg(self._payload, 0)
                self._sleep(_PAUSE_SECONDS)

    def _end_payload(self) -> None:
        """End the payload, if it runs: asked first, then made to."""
        if not self._payload:
            return
        deadline = time.monotonic() + _GRACE_SECONDS
        number: int = signal.SIGTERM
        with contextlib.suppress(OSError):
            while not os.waitpid(self._payload, os.WNOHANG)[0]:
                self._signal(number)
                number = signal.SIGKILL if time.monotonic() > deadline else 0
                self._sleep(_PAUSE_SECONDS)
        # What it left behind in its group goes with it.
        self._signal(signal.SIGKILL)
        self._payload = 0

    def _can_go_on(self, left: Collection[str]) -> bool:
        lost = [each for each in self._parts if each.name not in left]
        workers = [each for each in self._parts if each.works]
        return not any(each.is_vital for each in lost) and any(each.name in left for each in workers)

    def _report(self, part: Part) -> None:
        """Tell whoever follows the run that a node has left, and say so in connection.json."""
        text = "%s on node %s has left the %s cluster: %s" % (
            part.name, part.node.name, self._connection["launcher"], part.ending
        )  # fmt: skip
        say(kind="log", text=text, level="warning")
        self._connection.setdefault("lost", []).append(part.name)
        self._rewrite_connection()

    def _look(self) -> None:
        for part in self._parts:
            part.look()

    def _hear(self, number: int, _frame: Any) -> None:
        if self._payload:
            self._signal(number)
        elif number in (signal.SIGUSR1, signal.SIGUSR2):
            # For the payload, which is to begin yet.
            self._waiting.append(number)
        else:
            raise Ended(number)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._payload, number)

    def _sleep(self, seconds: float) -> None:
        """Wait so long, or until a child has ended or a signal has come."""
        if select.select([self._awake], [], [], seconds)[0]:
            os.read(self._awake, _PIECE)

    def _rewrite_connection(self) -> None:
        # It is there, if older: how the payload ends does not hang on who is told of what happens beside it.
        with contextlib.suppress(OSError):
            self._write_connection()

    def _write_connection(self) -> None:
        lost = self._connection.get("lost", [])
        self._connection["nodes"] = [
            dict(part.facts, part=part.name, node=part.node.name, address=part.node.address, log=part.log,
                 state="lost" if part.name in lost else "there")
            for part in self._parts
        ]  # fmt: skip
        write_whole(os.path.join(self.folder, CONNECTION), self._connection)


def launch(name: str, start: Callable[[Engine, Dict[str, Any]], Mapping[str, str]], words: List[str]) -> int:
    """Start an engine, run the payload beside it, and end the engine; give the exit code that tells how it went.

    `words` are the options as JSON and the payload; `start` gives the variables by which the payload finds the engine.
    """
    options, payload = json.loads(words[0]), words[1:]
    try:
        with Engine(name, nodes(options.get("nodes", 1)), engine_folder()) as engine:
            status = engine.run(payload, start(engine, options))
    except Failed as error:
        complain(str(error))
        return error.code
    except OSError as error:
        complain("could not run beside %s: %s" % (name, error))
        return NOT_READY
    except Ended as error:
        return end_like(error.number)
    return end_like(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def engine_folder() -> str:
    """Give the folder of logs: in the attempt's, or where there is none, a new one."""
    context = os.environ.get("SLUICEWAY_CONTEXT")
    return os.path.join(os.path.dirname(context), ENGINE) if context else tempfile.mkdtemp(prefix="sluiceway-engine-")


def say(**message: str) -> None:
    """Tell whoever follows the run, as the payload may do; where it cannot be told, all goes on."""
    place = os.environ.get("SLUICEWAY_MESSAGES", os.devnull)
    line = json.dumps(message, sort_keys=True).encode("ascii") + b"\n"
    with contextlib.suppress(OSError):
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def write_whole(path: str, content: Dict[str, Any]) -> None:
    """Write a file that is there whole, or as it was before."""
    handle, staged = tempfile.mkstemp(prefix=".connection.", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps(content, sort_keys=True).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(staged, 0o644)
        os.rename(staged, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(staged)
        raise


def _letter(part: Part, what: str) -> str:
    return "%s on node %s %s. The end of %s:\n%s" % (part.name, part.node.name, what, part.log, part.tail())


def _tail(path: str) -> str:
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            file.seek(max(os.path.getsize(path) - _TAIL_BYTES, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])
    return ""
