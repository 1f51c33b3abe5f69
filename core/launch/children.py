"""Starts programs from a program of Python 3.6 that may not know the module subprocess, and says what went wrong."""

import contextlib
import os
import signal
import sys
from typing import Mapping, NoReturn, Optional, Sequence

NOT_READY, LOST = 69, 70
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
_NOT_EXECUTABLE, _NOT_FOUND, _BY_SIGNAL = 126, 127, 128
_DIE_WITH_PARENT = 1
_SHOWN = 2000


class Failed(Exception):
    """The engine did not come up, or has gone; says why, and which exit code tells it."""

    def __init__(self, why: str, code: int = NOT_READY) -> None:
        super().__init__(why)
        self.code = code


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: Optional[int] = None,
    stdout: Optional[int] = None,
    stderr: str = "",
    leads: bool = False,
) -> int:
    """Start a program, in a session of its own, or as the leader of a group that dies with this program."""
    child = os.fork()
    if child == 0:
        try:
            if stderr:
                os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
            _become(argv, env, stdin, stdout, leads=leads)
        except (OSError, ValueError) as error:
            complain("could not start %s: %s" % (argv[0], error))
            os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)
        finally:
            # Whatever happens, this fork never goes on as a second one of us.
            os._exit(_NOT_EXECUTABLE)
    if leads:
        # The child does so itself, and may be another program by now.
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
    return child


def _become(
    argv: Sequence[str], env: Mapping[str, str], stdin: Optional[int], stdout: Optional[int], *, leads: bool
) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in FORWARDED + _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    if leads:
        os.setpgid(0, 0)
        _die_with_parent()
    else:
        os.setsid()
    for handle, stream in ((stdin, 0), (stdout, 1)):
        if handle is not None:
            os.dup2(handle, stream)
    os.execvpe(argv[0], list(argv), dict(env))


def _die_with_parent() -> None:
    """Let the kernel end this process when its parent is killed (prctl(2)); where it cannot, Slurm does."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - some Pythons lack it

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)


def printed(argv: Sequence[str]) -> str:
    """Run a program, and give what it printed; raise Failed where it fails."""
    out, into = os.pipe()
    child = spawn(argv, os.environ, stdout=into)
    os.close(into)
    with os.fdopen(out, "rb") as file:
        text = file.read().decode("utf-8", "replace")
    if os.waitpid(child, 0)[1]:
        raise Failed("%s failed: %s" % (" ".join(argv), text.strip()[-_SHOWN:]))
    return text


def end_like(number: int) -> int:
    """End this program by the signal that ended the payload, so that whoever waits is told so."""
    sys.stdout.flush()
    # KILL has no other way than its own.
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return _BY_SIGNAL + number


def complain(text: str) -> None:
    """Say what is wrong where people look for it."""
    # Nobody may be left to tell.
    with contextlib.suppress(OSError):
        os.write(2, ("sluiceway: %s\n" % text).encode("utf-8", "replace"))
