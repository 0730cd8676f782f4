"""Files that lie on the Hugging Face hub or in an S3 bucket: listed once, then copied one at a time.

hf://datasets/OWNER/NAME[@REVISION]/folder ─┐
s3://BUCKET/folder ─────────────────────────┴─► names, sizes, tags ─► a copy beside what is made of it
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol, TypeVar
from urllib.parse import unquote

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, Failed, Mismatch, NotFound
from ramify.ground.extras import need

T = TypeVar("T")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
DATASET = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<inner>.*))?"
)
BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<inner>.*))?")
DATASET_FORM = "hf://datasets/OWNER/NAME, hf://datasets/OWNER/NAME@REVISION/folder"
BUCKET_FORM = "s3://BUCKET or s3://BUCKET/folder"
CARD = "README.md"  # of a dataset: it tells of the documents and is none
PIECE_BYTES = 1 << 20
WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before a copy that broke off goes on
REFUSED = frozenset(
    {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
)
GONE = frozenset({"NoSuchKey", "PreconditionFailed", "404", "412"})


@dataclass(frozen=True, slots=True)
class FarFile:
    """A file as it was listed: its name below the path asked for, its bytes, and what vouches for it.

    `at` is its path in the repository or bucket. The tag is `sha256:` or `git:` (a git blob's SHA-1)
    with the hash of its bytes, or `etag:` with the tag that an S3 server gave this state of it.
    """

    name: str
    at: str
    bytes: int
    tag: str


class Far(Protocol):
    """A place far away that files are read from.

    Pickled, it is what it names and no more: whoever unpickles it asks with credentials of its own.
    """

    commit: str | None  # of what a revision named when it was resolved; None where there are none

    def listing(self) -> list[FarFile]:
        """Return every file below the path, hidden ones left out, in the order of names.

        Raises NotFound, BadInput where the server refuses, Failed where there is none.
        """
        ...

    def copy(self, file: FarFile, folder: Path) -> Path:
        """Copy a file into a folder of its own, its bytes as they were listed, and return where.

        Raises Mismatch where it changed since it was listed, Corrupt where other bytes came.
        """
        ...


def is_far(path: str) -> bool:
    """Say whether a path begins with a scheme, as `s3://`."""
    return SCHEME.match(path) is not None


def checked(path: str) -> str:
    """Return a path that is of this machine, or far away and of a form that is read; BadInput else."""
    if is_far(path):
        far(path)
    return path


def far(path: str, commit: str | None = None) -> Far:
    """Return the place that a path names, without asking for it; BadInput if it names none.

    `commit` is what the revision was resolved to earlier. A path is not repeated in the error: it
    might hold a secret.
    """
    found = DATASET.fullmatch(path)
    if found:
        revision = unquote(found["revision"] or "main")
        return Dataset(found["repo"], revision, (found["inner"] or "").strip("/"), commit)
    found = BUCKET.fullmatch(path)
    if found:
        return Bucket(found["bucket"], (found["inner"] or "").strip("/"))
    scheme = SCHEME.match(path)
    kind = scheme.group(1).lower() if scheme else ""
    forms = {"hf": DATASET_FORM, "s3": BUCKET_FORM}
    raise BadInput(
        f"a path that begins with {kind}:// is not of the form that is read",
        hint=f"write {forms.get(kind) or f'{DATASET_FORM}, {BUCKET_FORM}, or a path of this machine'}",
    )


def _patiently(
    work: Callable[[], T],
    failures: tuple[type[Exception], ...],
    passes: Callable[[Any], bool] = lambda error: True,
) -> T:
    """Do what may fail in passing, after a wait again; what it raises at last is raised."""
    for wait in WAITS:
        try:
            return work()
        except failures as error:
            if not passes(error):
                raise
            time.sleep(wait)
    return work()


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or not part for part in name.split("/"))


def _below(inner: str, name: str) -> str | None:
    """Return what a file is called below `inner`, its own name if it is that; None elsewhere."""
    if name == inner:
        return name.rsplit("/", 1)[-1]
    if not inner:
        return name
    return name.removeprefix(f"{inner}/") if name.startswith(f"{inner}/") else None


class Dataset:
    """A dataset repository of the Hugging Face hub, or of the server that HF_ENDPOINT names."""

    def __init__(self, repo: str, revision: str, inner: str, commit: str | None) -> None:
        self.commit = commit
        self._repo, self._revision, self._inner = repo, revision, inner

    def __reduce__(self) -> tuple[Any, ...]:
        return Dataset, (self._repo, self._revision, self._inner, self.commit)

    @cached_property
    def _api(self) -> Any:
        need("huggingface_hub.utils", extra="hf").disable_progress_bars()
        return need("huggingface_hub", extra="hf").HfApi(endpoint=os.environ.get("HF_ENDPOINT"))

    def listing(self) -> list[FarFile]:
        """Return the files of the commit; a branch or tag is resolved first, unless it was before."""
        with self._telling():
            found = _patiently(self._found, self._unanswered(), _passes)
        named = [(self._name(each.path), each) for each in found if _is_file(each)]
        return sorted(
            (FarFile(name, each.path, each.size, _tag(each)) for name, each in named if name),
            key=lambda file: file.name,
        )

    def _found(self) -> list[Any]:
        """Return what the hub tells of the path: the file that it is, or all that lies below it."""
        if self.commit is None:
            told = self._api.dataset_info(self._repo, revision=self._revision, expand=["sha"])
            self.commit = str(told.sha)
        where = {"repo_id": self._repo, "repo_type": "dataset", "revision": self.commit}
        found = self._api.get_paths_info(paths=[self._inner], **where) if self._inner else []
        if found and _is_file(found[0]):
            return list(found)
        below = self._inner or None
        return list(self._api.list_repo_tree(path_in_repo=below, recursive=True, **where))

    def _name(self, path: str) -> str | None:
        name = _below(self._inner, path)
        if name is None or _hidden(name) or (not self._inner and name == CARD):
            return None
        return name

    def copy(self, file: FarFile, folder: Path) -> Path:
        """Copy a file of the commit and hash it."""
        with self._telling():
            at = _patiently(
                lambda: self._api.hf_hub_download(
                    self._repo,
                    file.at,
                    repo_type="dataset",
                    revision=self.commit,
                    local_dir=folder,
                ),
                self._unanswered(),
                _passes,
            )
        if _hash(file.tag, Path(at)) != file.tag:
            raise Corrupt(
                f"{file.at} of {self._repo} came with other bytes than the hub lists",
                hint="type: ramify run again",
            )
        return Path(at)

    def _unanswered(self) -> tuple[type[Exception], ...]:
        """Return what the hub's client raises without an answer; its Xet part raises RuntimeError."""
        errors = need("huggingface_hub.errors", extra="hf")
        lost = (errors.HTTPError, errors.LocalEntryNotFoundError, errors.FileMetadataError)
        return (*lost, ConnectionError, TimeoutError, RuntimeError)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what the hub's client raises into one line that says what to type."""
        errors = need("huggingface_hub.errors", extra="hf")
        try:
            yield
        except errors.GatedRepoError:
            raise BadInput(
                f"dataset {self._repo} is given only to those who asked for it",
                hint="accept its terms on its page, then set HF_TOKEN or type: hf auth login",
            ) from None
        except errors.RevisionNotFoundError:
            asked = self.commit or self._revision
            raise NotFound(
                f"dataset {self._repo} has no revision {asked!r}",
                hint="name a branch, tag or commit that it has, or forget the step",
            ) from None
        except errors.RepositoryNotFoundError:
            raise NotFound(
                f"the hub has no dataset {self._repo}, or shows it to others only",
                hint="look at the name; for one that is private set HF_TOKEN or type: hf auth login",
            ) from None
        except errors.RemoteEntryNotFoundError:
            raise NotFound(
                f"dataset {self._repo} has nothing at {self._inner!r}",
                hint="give the path of a file or folder in it",
            ) from None
        except errors.OfflineModeIsEnabled:
            raise Failed(
                f"dataset {self._repo} is not asked for: HF_HUB_OFFLINE is set", hint="unset it"
            ) from None
        except errors.HfHubHTTPError as error:
            _refused_by_hub(self._repo, error)
        except self._unanswered() as error:
            raise _unreachable(f"dataset {self._repo}", error) from None


def _passes(error: Any) -> bool:
    """Say whether an error of the hub's client may pass: no answer, or a server in trouble."""
    if isinstance(error, need("huggingface_hub.errors", extra="hf").OfflineModeIsEnabled):
        return False
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is None or status == 429 or status >= 500


def _is_file(entry: Any) -> bool:
    return hasattr(entry, "size")  # a folder has none


def _tag(entry: Any) -> str:
    return f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git:{entry.blob_id}"


def _hash(tag: str, path: Path) -> str:
    """Return the tag of what a path holds, of the kind of another tag."""
    if tag.startswith("sha256:"):
        return f"sha256:{files.sha256(path)}"
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return f"git:{digest.hexdigest()}"


def _refused_by_hub(repo: str, error: Any) -> NoReturn:
    status = getattr(error.response, "status_code", None)
    if status in (401, 403):
        raise BadInput(
            f"the hub refuses dataset {repo} with {status}",
            hint="set HF_TOKEN to a token that may read it, or type: hf auth login",
        ) from None
    raise Failed(f"the hub answers {status} for dataset {repo}", hint=AGAIN) from None


def _unreachable(what: str, error: Exception) -> Failed:
    said = " ".join(str(error).split())[:150]
    return Failed(f"{what} cannot be reached: {type(error).__name__} {said}", hint=AGAIN)


AGAIN = "look at the network, then type: ramify run, which goes on where it was"


class Bucket:
    """A folder of an S3 bucket, at the server and with the credentials that boto3 finds.

    Where it finds no credentials, it asks without: public buckets answer.
    """

    commit: str | None = None

    def __init__(self, bucket: str, inner: str) -> None:
        self._bucket, self._inner = bucket, inner

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self._bucket, self._inner)

    @cached_property
    def _client(self) -> Any:
        config = need("botocore.config", extra="s3").Config
        unsigned = need("botocore", extra="s3").UNSIGNED
        session = need("boto3", extra="s3").session.Session()
        asked: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 5}}
        if session.get_credentials() is None:
            asked["signature_version"] = unsigned
        return session.client("s3", config=config(**asked))

    @property
    def _where(self) -> str:
        return f"s3://{self._bucket}" + (f"/{self._inner}" if self._inner else "")

    def listing(self) -> list[FarFile]:
        """Return the objects of the folder, or the object; marks of folders are none."""
        with self._telling():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._inner
            )
            found = [
                FarFile(name, each["Key"], each["Size"], f"etag:{each['ETag'].strip(chr(34))}")
                for page in pages
                for each in page.get("Contents", ())
                if (name := _below(self._inner, each["Key"])) is not None and not _hidden(name)
            ]
        if not found:
            raise NotFound(
                f"{self._where} holds no file",
                hint="give the path of a file or folder in the bucket",
            )
        return sorted(found, key=lambda file: file.name)

    def copy(self, file: FarFile, folder: Path) -> Path:
        """Copy an object as long as it is the one that was listed; go on where a transfer breaks off."""
        to = folder / f"copy{Path(file.name).suffix}"
        with self._telling(), to.open("wb") as out:
            _patiently(lambda: self._rest(file, out), self._unanswered())
            if out.tell() != file.bytes:
                raise Corrupt(
                    f"{file.name} of {self._where} came with {out.tell()} bytes, not {file.bytes}",
                    hint=AGAIN,
                )
        return to

    def _rest(self, file: FarFile, out: BinaryIO) -> None:
        have = out.tell()
        asked: dict[str, Any] = {"Range": f"bytes={have}-"} if have else {}
        answer = self._client.get_object(
            Bucket=self._bucket,
            Key=file.at,
            IfMatch=f'"{file.tag.removeprefix("etag:")}"',
            **asked,
        )
        for piece in answer["Body"].iter_chunks(PIECE_BYTES):
            out.write(piece)

    def _unanswered(self) -> tuple[type[Exception], ...]:
        errors = need("botocore.exceptions", extra="s3")
        return (errors.HTTPClientError, errors.ConnectionError, errors.IncompleteReadError)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what boto3 raises into one line that says what to type."""
        errors = need("botocore.exceptions", extra="s3")
        try:
            yield
        except errors.ClientError as error:
            self._refused(str(error.response.get("Error", {}).get("Code")))
        except self._unanswered() as error:
            raise _unreachable(self._where, error) from None
        except errors.BotoCoreError as error:
            said = " ".join(str(error).split())[:150]
            raise BadInput(f"{self._where} cannot be asked for: {said}", hint=SIGN) from None

    def _refused(self, code: str) -> NoReturn:
        if code == "NoSuchBucket":
            raise NotFound(f"there is no bucket {self._bucket}", hint="look at its name") from None
        if code in GONE:
            raise Mismatch(
                f"a file of {self._where} changed since it was listed",
                hint="type: ramify run again, which lists it anew",
            ) from None
        if code in REFUSED:
            raise BadInput(f"{self._where} is refused with {code}", hint=SIGN) from None
        raise Failed(f"the server answers {code} for {self._where}", hint=AGAIN) from None


SIGN = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, to what may read it"
