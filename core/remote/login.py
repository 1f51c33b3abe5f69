"""How a machine is reached over SSH: who, where, with which proof, and through which other machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One question of a login: its text, and whether the answer may be seen while it is typed."""

    text: str
    visible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a machine asks while somebody logs in, such as a one-time code."""

    machine: str
    instructions: str
    prompts: tuple[Prompt, ...]


Answer = Callable[[Challenge], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How one machine is reached. What is left out comes from ssh_config, as it does for ssh itself."""

    host: str
    port: int | None = None
    user: str | None = None
    keys: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    passphrase: SecretStr | None = None
    password: SecretStr | None = None
    answer: Answer | None = field(default=None, repr=False)
    use_agent: bool = True
    known_hosts: Path | None = None
    ssh_config: Path | None = None
    via: Login | None = None

    @property
    def machine(self) -> str:
        """The machine as a person would name it: user@host:port, without what is not known.

        >>> Login(host="login.example.org", user="ada", port=2222).machine
        'ada@login.example.org:2222'
        """
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{user}{self.host}{port}"

    @property
    def chain(self) -> tuple[Login, ...]:
        """Every machine on the way, the first to connect to first."""
        return (*(self.via.chain if self.via else ()), self)

    @property
    def offered(self) -> str:
        """What proves who we are, in words and without a secret."""
        ways = [f"key {key}" for key in self.keys] + [f"certificate {each}" for each in self.certificates]
        ways += ["password"] if self.password else []
        ways += ["answers to its questions"] if self.answer else []
        ways += ["the ssh agent"] if self.use_agent else []
        return ", ".join(ways) or "the default keys"
