"""A data set on the Hugging Face hub: each release is one commit, and names the one before it as its parent.

What is there is looked at once, before a release is made and compared with it; the commit then holds only where that is
still the newest. Files that did not change are not sent, and files that no release of ours listed are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from sluiceway.core import settings
from sluiceway.core.errors import AuthenticationFailed, HubMoved, UpstreamFailed
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.publish.snapshot import SEAL, Version
from sluiceway.core.store.durable import write_whole
from sluiceway.core.store.record import Damage, unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import CommitOperationCopy, HfApi
    from huggingface_hub.errors import HfHubHTTPError

_METADATA: Final = "data/metadata/"
_TABLE: Final = re.compile(rf"{_METADATA}([\w-]+\.parquet)")
_REFUSED: Final = frozenset({401, 403})
_CONFLICT: Final = frozenset({409, 412})
_NOT_THERE: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPlace:
    """Where on a hub the data sets are, and who publishes them; the token shows nowhere.

    Attributes:
        token: Of who publishes; an empty one reads what is public.
        distributions: The repository of the distributions, such as somebody/prs-percentiles; none leaves it out.
        catalogue: The repository of the catalogue's metadata and scoring files; none leaves it out.
    """

    token: SecretStr
    distributions: str | None = None
    catalogue: str | None = None
    endpoint: str = "https://huggingface.co"
    revision: str = "main"

    def address(self, repository: str) -> str:
        """Give where the newest files of a repository are."""
        return f"{self.endpoint.rstrip('/')}/datasets/{repository}/resolve/{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a repository had when it was looked at: its newest commit, its files, and our release, if that is one."""

    head: str
    files: frozenset[str]
    release: Version | None


class HubDataset:
    """One data set on a hub."""

    def __init__(self, place: HubPlace, repository: str) -> None:
        """Use a repository there; nothing is asked yet."""
        self.place = place
        self.repository = repository

    def look(self) -> Seen:
        """Look at the newest commit."""
        with self._asking(head="unknown"):
            told = self._api().dataset_info(self.repository, revision=self.place.revision)
            head = str(told.sha)
            files = frozenset(each.rfilename for each in told.siblings or ())
            content = self._content(head, SEAL) if SEAL in files else None
        return Seen(head=head, files=files, release=None if content is None else _release(content))

    def bring(self, seen: Seen, path: str, target: Path) -> None:
        """Bring a file of what was seen; one that is not as its release says is refused."""
        with self._asking(head=seen.head):
            content = self._content(seen.head, path)
        entry = None if seen.release is None else seen.release.files.get(path)
        if entry is not None and digest_of_bytes(content) != entry.digest:
            raise self._failed(f"{path} is not what its release says")
        write_whole(target, content)

    def commit(self, seen: Seen, version: Version, *, title: str, said: str) -> str:
        """Publish a version as one commit on top of what was seen, and give the commit; all of it or nothing.

        Raises:
            HubMoved: Something was committed there meanwhile.
            AuthenticationFailed: The token is not accepted, or may not write there.
            UpstreamFailed: An upload failed, or the hub cannot be reached.
        """
        from huggingface_hub import (  # noqa: PLC0415 - slow to import
            CommitOperationAdd,
            CommitOperationDelete,
        )

        there = {} if seen.release is None else {path: each.digest for path, each in seen.release.files.items()}
        new = [path for path, each in version.files.items() if there.get(path) != each.digest or path not in seen.files]
        gone = [path for path in there if path not in version.files and path in seen.files]
        if not new and not gone:
            return seen.head
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationAdd(path, str(version.folder / path)) for path in sorted([*new, SEAL])),
            *(CommitOperationDelete(path) for path in sorted(gone)),
        ]
        with self._asking(head=seen.head):
            made = self._api().create_commit(
                self.repository,
                operations,
                commit_message=title,
                commit_description=said,
                repo_type="dataset",
                revision=self.place.revision,
                parent_commit=seen.head,
            )
        return str(made.oid)

    def _api(self) -> HfApi:
        from huggingface_hub import HfApi  # noqa: PLC0415

        # Without a token of ours none is sent: whichever else this machine has is not for us to show.
        token = self.place.token.get_secret_value() or False
        return HfApi(endpoint=self.place.endpoint.rstrip("/"), token=token)

    def _content(self, head: str, path: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            file = self._api().hf_hub_download(
                self.repository, path, repo_type="dataset", revision=head, local_dir=folder
            )
            return Path(file).read_bytes()

    @contextlib.contextmanager
    def _asking(self, *, head: str) -> Iterator[None]:
        """Give the hub's trouble our names, none of which says the token."""
        import httpx2  # noqa: PLC0415 - comes with huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

        try:
            yield
        except HfHubHTTPError as error:
            # Where errors are pickled with their causes, as Dask does, what was asked goes along.
            error.response.request.headers.pop("authorization", None)
            raise self._named(error, head) from error
        # An upload that fails ends as RuntimeError, whichever way it goes.
        except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
            raise self._failed(str(error) or type(error).__name__) from error

    def _named(self, error: HfHubHTTPError, head: str) -> AuthenticationFailed | HubMoved | UpstreamFailed:
        status = error.response.status_code
        said = self._safe(str(error.server_message or error))
        if status in _CONFLICT:
            return HubMoved(machine=self._machine, dataset=self.repository, expected=head, found=said)
        if status in _REFUSED or status == _NOT_THERE:
            tried = "a token, or it has no such repository" if status == _NOT_THERE else "a token"
            user = f"the publisher of {self.repository}"
            return AuthenticationFailed(machine=self._machine, user=user, tried=tried, reason=f"{status}: {said}")
        return self._failed(f"{status}: {said}")

    def _failed(self, reason: str) -> UpstreamFailed:
        url = f"{self.place.endpoint.rstrip('/')}/datasets/{self.repository}"
        return UpstreamFailed(machine=self._machine, url=url, tries=1, reason=self._safe(reason))

    def _safe(self, said: str) -> str:
        """Give the first line of what a hub said, without anything that lets somebody in."""
        line = next((each for each in said.splitlines() if each.strip()), "nothing")
        # Addresses of uploads are signed by their queries.
        return re.sub(r"\?\S+", "?…", line).replace(self.place.token.get_secret_value() or "\n", "(the token)")

    @property
    def _machine(self) -> str:
        return urlsplit(self.place.endpoint).netloc


class MetadataOnHub:
    """The metadata that somebody published, for whoever has none here: asked before the catalogue itself is."""

    def __init__(self, place: HubPlace, repository: str) -> None:
        """Use a repository of the catalogue's data set."""
        self._dataset = HubDataset(place, repository)

    @classmethod
    def configured(cls) -> Self | None:
        """Give the metadata that the settings name; none where they name none."""
        chosen = settings.load()
        if chosen.metadata_hub is None:
            return None
        token = SecretStr("") if chosen.hub_token is None else chosen.hub_token
        return cls(HubPlace(token=token, endpoint=chosen.hub_endpoint), chosen.metadata_hub)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"hub:{self._dataset.repository}"

    async def bring_metadata(self, folder: Path) -> bool:
        """Put the parquet files of the metadata into a folder; false where it has none."""
        seen = await asyncio.to_thread(self._dataset.look)
        # A name with a folder in it is no table of ours, and must not lead out of this folder.
        names = sorted(each[1] for path in seen.files if (each := _TABLE.fullmatch(path)))
        for name in names:
            await asyncio.to_thread(self._dataset.bring, seen, f"{_METADATA}{name}", folder / name)
        return bool(names)


def _release(content: bytes) -> Version | None:
    """Read a release that was published; one that is none of ours counts as none."""
    try:
        document: dict[str, Any] = unsealed(content, name=SEAL)
        return Version.of(Path(), document)
    except (Damage, json.JSONDecodeError, KeyError, TypeError):
        return None
