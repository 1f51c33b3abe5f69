"""Runs the program that runs a container, and sees that the container ends with it.

What such a program starts is no child of its: killed, it leaves a container behind, and a container's first process
does not hear TERM unless it listens to it. So whoever is told to end, ends it as outside; and what was killed before it
could is removed by the next one of this user on the node. It travels beside enter.py and needs Python 3.6 alone.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
from typing import Any, Callable, ContextManager, Dict, List, Tuple

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# What podman says when all that it had under way was killed: until then it does nothing at all.
_BROKEN = b"podman system migrate"
_AGAIN_SECONDS, _LONG_SECONDS = 0.2, 3600.0


class Client:
    """The program that runs containers here, with the options that say where it keeps them."""

    def __init__(
        self, words: List[bytes], environment: Dict[bytes, bytes], alone: Callable[[], ContextManager[None]]
    ) -> None:
        """Use these words and variables; `alone` keeps every other process of this user from mending it."""
        self.words, self.environment, self.alone = words, environment, alone

    def ask(self, *words: bytes) -> Any:
        """Ask it something; mended, where all that it had under way was killed."""
        done = self._asked(words)
        if done.returncode and _BROKEN in done.stderr:
            with self.alone():
                # Somebody else may have mended it by now, and have a container that mending it again would end.
                done = self._asked(words)
                if done.returncode and _BROKEN in done.stderr:
                    self._asked((b"system", b"migrate"))
                    done = self._asked(words)
        return done

    def _asked(self, words: Tuple[bytes, ...]) -> Any:
        return subprocess.run(  # noqa: PLW1510 - the asker looks
            self.words + list(words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


class Watch:
    """One container of this user's: as long as its lock is held, somebody waits for its end."""

    def __init__(self, client: Client, folder: bytes, name: bytes) -> None:
        """Begin to watch what will have this name; the folder is for the locks of all that this user has here."""
        self.client, self.name = client, name
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        self._was_ended, self._pid = False, ""
        self._place = os.path.join(folder, name)
        self._handle = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        os.write(self._handle, json.dumps([os.fsdecode(each) for each in client.words]).encode("ascii"))

    def run(self, argv: List[bytes]) -> int:
        """Run the program to its end; give the exit code of the payload, or die as it has."""
        # Blocked for the program as well: podman may end at once when it is told to, and its container goes on.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD + (signal.SIGCHLD,))
        child = subprocess.Popen(argv, env=self.client.environment)
        owed = []  # type: List[int]
        told = []  # type: List[int]
        while child.poll() is None or self._goes_on():
            is_short = bool(owed) or child.returncode is not None
            heard = signal.sigtimedwait(_HEARD + (signal.SIGCHLD,), _AGAIN_SECONDS if is_short else _LONG_SECONDS)
            if heard is not None and heard.si_signo != signal.SIGCHLD:
                owed = owed + [heard.si_signo]
                told.append(heard.si_signo)
            owed = [each for each in owed if child.returncode is None and not self._passed_on(each)]
        if told or child.returncode < 0:
            self.client.ask(b"rm", b"--force", self.name)
        os.unlink(self._place)
        # Slurm tells conmon as well, which then lets podman say 0 of whatever came of the payload.
        is_untold = signal.SIGTERM in told and child.returncode == 0
        return _as_it_ended(-signal.SIGTERM if self._was_ended or is_untold else child.returncode)

    def _goes_on(self) -> bool:
        """Say whether a container that was told to end lives on without its program; nobody will know how it ends."""
        lives = bool(self._pid) and os.path.exists("/proc/" + self._pid)
        self._was_ended = self._was_ended or lives
        return lives

    def _passed_on(self, number: int) -> bool:
        """Pass a signal on; TERM ends what has said nothing about it, as outside: a first process would go on."""
        told = self.client.ask(b"inspect", b"--format={{.State.Pid}}", self.name)
        pid = told.stdout.decode("ascii", "replace").strip()
        if told.returncode or pid in ("", "0"):
            return False
        self._pid = pid
        is_deaf = number == signal.SIGTERM and not _hears(pid)
        done = self.client.ask(b"kill", b"--signal=%d" % (signal.SIGKILL if is_deaf else number), self.name)
        self._was_ended = self._was_ended or (is_deaf and done.returncode == 0)
        return bool(done.returncode == 0)


def sweep(client: Client, folder: bytes) -> None:
    """Remove the containers for whose end nobody waits any more."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        place = os.path.join(folder, name)
        with contextlib.suppress(OSError, ValueError), open(place, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            words = [os.fsencode(each) for each in json.loads(file.read().decode("ascii"))]
            Client(words, client.environment, client.alone).ask(b"rm", b"--force", name)
            os.unlink(place)


def _hears(pid: str) -> bool:
    """Say whether a process has said what TERM is to do; it has where nobody can tell."""
    try:
        with open("/proc/%d/status" % int(pid)) as file:
            lines = dict(line.split(":", 1) for line in file)
        masks = int(lines["SigCgt"], 16) | int(lines["SigIgn"], 16)
    except (OSError, ValueError, KeyError):
        return True
    return bool(masks >> (signal.SIGTERM - 1) & 1)


def _as_it_ended(code: int) -> int:
    """Give an exit code, or die of the signal."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        os.kill(os.getpid(), -code)
    return code
