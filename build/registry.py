"""A repository in an OCI registry: its manifests, blobs and tags. What comes in is compared with its digest.

Specification: OCI distribution-spec 1.1 (pull, push, content discovery). Uploads: :mod:`build.upload`; what is
attached to a digest: :mod:`build.referrers`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from build.credentials import Credentials
from build.errors import ImageNotFoundError, NetworkError, RegistryError, UsageError
from build.registryhttp import BACKOFF_SECONDS, PIECE, Connection, cause
from build.registrylogin import Access
from build.registryplaces import joined

if TYPE_CHECKING:
    import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT = ", ".join((MANIFEST, INDEX, *DOCKER_MANIFESTS))
MANIFEST_LIMIT = 4 << 20  # bytes; what the specification asks registries to take at least, and ours are some kB
TRIES = 5  # of a blob whose reading is cut
PAGES = 1000  # of a list
# distribution-spec 1.1, "Pulling manifests": names and tags; digests: image-spec, descriptor.md.
NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123, 2.1
HOST = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*|\[[0-9a-fA-F:]+\])(?::([0-9]{{1,5}}))?")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image in a registry: ``host/name``, with a tag, a digest, or neither."""

    host: str
    name: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.host}/{self.name}"

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """``HOST/NAME``, with ``:TAG`` or ``@sha256:…``; :class:`UsageError` for what is none. The host must be named.

    >>> parse("127.0.0.1:5000/spark/vllm:v0.32")
    Reference(host='127.0.0.1:5000', name='spark/vllm', tag='v0.32', digest='')
    >>> str(parse("ghcr.io/owner/name@sha256:" + 64 * "a"))[:30]
    'ghcr.io/owner/name@sha256:aaaa'
    """
    rest, _, digest = text.partition("@")
    host, _, name = rest.partition("/")
    name, _, tag = name.partition(":")
    named = "." in host or ":" in host or host == "localhost"
    place = HOST.fullmatch(host)
    if (
        not named
        or not place
        or int(place[1] or 443) > 65535
        or not NAME.fullmatch(name)
        or ("@" in text and not DIGEST.fullmatch(digest))
        or (":" in rest[len(host) :] and not TAG.fullmatch(tag))
    ):
        raise UsageError(
            f"'{text}' names no image in a registry",
            why="that is HOST/NAME, in lower case, with :TAG or @sha256: and 64 hex digits",
            todo="for example ghcr.io/owner/spark-vllm",
        )
    return Reference(host=host, name=name, tag=tag, digest=digest)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest's bytes, what they are, and the sha256 digest of them."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def content(self) -> dict[str, Any]:
        """The JSON in it; ``ValueError`` for what is none."""
        try:
            found = json.loads(self.data)
        except RecursionError as error:
            raise ValueError("too deep") from error
        if not isinstance(found, dict):
            raise ValueError("not an object")  # noqa: TRY004 - of JSON that is bad in whatever way
        return found


class Repository:
    """One repository. ``write``: ask for the right to push, which many registries refuse to who only reads."""

    def __init__(self, host: str, name: str, credentials: Credentials | None, *, write: bool = False) -> None:
        self.name = name
        self.reference = f"{host}/{name}"
        self.http = Connection(host, credentials)
        self.access = Access(name=name, write=write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest of a tag or digest; None where there is none.

        Raises :class:`RegistryError` where the bytes are not those of the digest that was asked for or told.
        """
        answer = self._manifest("GET", reference)
        if answer is None:
            return None
        with answer:
            data = b""
            for piece in self._pieces(answer):
                data += piece
                if len(data) > MANIFEST_LIMIT:
                    raise RegistryError(f"{self.reference} has a manifest of more than {MANIFEST_LIMIT} bytes")
            found = Manifest(media_type=answer.headers.get("Content-Type", "").split(";")[0], data=data)
            told = answer.headers.get("Docker-Content-Digest", found.digest)
        expected = reference if DIGEST.fullmatch(reference) else found.digest
        if found.digest != expected or told != expected:
            raise RegistryError(
                f"{self.reference} gave another manifest than was asked for",
                why=f"asked for {reference}, told {told}, the bytes are {found.digest}",
                todo="do not use it; look at the registry, and at what stands between it and you",
            )
        return found

    def resolve(self, tag: str) -> str:
        """The digest that a tag stands for; empty where there is no such tag."""
        answer = self._manifest("HEAD", tag)
        if answer is None:
            return ""
        answer.close()
        told = answer.headers.get("Docker-Content-Digest", "")
        if DIGEST.fullmatch(told):
            return told
        found = self.manifest(tag)
        return found.digest if found else ""

    def _manifest(self, method: str, reference: str) -> requests.Response | None:
        path = f"/v2/{self.name}/manifests/{reference}"
        answer = self.http.request(
            method, path, self.access, ok=(200, 404), headers={"Accept": ACCEPT}, stream=method == "GET"
        )
        if answer.status_code == 404:
            answer.close()
            return None
        return answer

    def put_manifest(self, manifest: Manifest, reference: str = "") -> bool:
        """Push a manifest by its digest, or under a tag; whether the registry keeps referrers of its subject itself.

        Raises :class:`RegistryError` where the registry says that it became another digest.
        """
        path = f"/v2/{self.name}/manifests/{reference or manifest.digest}"
        headers = {"Content-Type": manifest.media_type}
        answer = self.http.request("PUT", path, self.access, ok=(201, 202), headers=headers, data=manifest.data)
        told = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if told != manifest.digest:
            raise RegistryError(
                f"{self.reference} took a manifest for another one",
                why=f"pushed was {manifest.digest}, it says {told}",
                todo="no tag was moved; look at what stands between you and the registry",
            )
        return "OCI-Subject" in answer.headers

    def tags(self) -> tuple[str, ...]:
        """All tags, sorted; none of a repository that is not there."""
        found: set[str] = set()
        path = f"/v2/{self.name}/tags/list?n=1000"
        for _ in range(PAGES):
            answer = self.http.request("GET", path, self.access, ok=(200, 404))
            if answer.status_code == 404:
                break
            told = self.http.document(answer).get("tags")
            rows = told if isinstance(told, list) else []
            found |= {tag for tag in rows if isinstance(tag, str) and TAG.fullmatch(tag)}
            path = next_page(answer)
            if not path:
                break
        return tuple(sorted(found))

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there."""
        answer = self.http.request("HEAD", f"/v2/{self.name}/blobs/{digest}", self.access, ok=(200, 404))
        return answer.status_code == 200

    def blob(self, digest: str, size: int) -> bytes:
        """A small blob, compared with its digest and size."""
        with self.open_blob(digest, size) as stream:
            data = stream.read(size + 1)
        if len(data) != size or f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise RegistryError(
                f"{self.reference} gave other bytes for a blob", why=f"asked for {digest} of {size} bytes",
                todo="do not use it; look at the registry, and at what stands between it and you",
            )  # fmt: skip
        return data

    def open_blob(self, digest: str, size: int) -> IO[bytes]:
        """A blob as a stream; read on from where it was cut. The reader compares the digest."""
        return cast("IO[bytes]", io.BufferedReader(_Blob(self, digest, size), PIECE))

    def _pieces(self, answer: requests.Response) -> Any:
        import requests  # noqa: PLC0415

        try:
            yield from answer.iter_content(PIECE)
        except requests.RequestException as error:
            raise NetworkError(
                f"the registry {self.http.host} hung up", why=cause(error), todo="run the same command again"
            ) from error


class _Blob(io.RawIOBase):
    """A blob that comes in; after a cut the rest is asked for (RFC 9110, range requests)."""

    def __init__(self, repository: Repository, digest: str, size: int) -> None:
        self._of = repository
        self._digest = digest
        self._size = size
        self._position = 0
        self._ahead = 0  # bytes that come once more, from a server that does not know ranges
        self._cuts = 0
        self._answer: Any = None
        self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._position < self._size:
            wanted = self._ahead or self._size - self._position
            try:
                data = self._answer.raw.read(min(len(buffer), wanted), decode_content=False)
            except _cuts() as error:
                self._again(cause(error))
                continue
            if data and self._ahead:
                self._ahead -= len(data)
            elif data:
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
            else:
                self._again(f"it ended after {self._position} of {self._size} bytes")
        return 0

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        super().close()

    def _again(self, why: str) -> None:
        self._cuts += 1
        self._answer.close()
        if self._cuts >= TRIES:
            raise NetworkError(
                f"a layer of {self._of.reference} could not be read to its end", why=f"{why} ({TRIES} tries)",
                todo="look at the network and run the same command again",
            )  # fmt: skip
        time.sleep(BACKOFF_SECONDS * 2**self._cuts)
        self._open()

    def _open(self) -> None:
        path = f"/v2/{self._of.name}/blobs/{self._digest}"
        headers = {"Range": f"bytes={self._position}-"} if self._position else {}
        self._answer = self._of.http.request(
            "GET", path, self._of.access, ok=(200, 206, 404), headers=headers, stream=True
        )
        if self._answer.status_code == 404:
            self._answer.close()
            raise ImageNotFoundError(f"{self._of.reference} has no blob {self._digest}")
        self._ahead = self._position if self._answer.status_code == 200 else 0


def next_page(answer: requests.Response) -> str:
    """The path of a list's next page (RFC 8288 link), empty at its end; never another host's."""
    link = answer.links.get("next", {}).get("url", "")
    if not link:
        return ""
    parts = urlsplit(joined(answer.url, link))
    return f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")


def _cuts() -> tuple[type[Exception], ...]:
    import urllib3.exceptions  # noqa: PLC0415

    return (urllib3.exceptions.HTTPError, OSError)
