"""The model hub, through huggingface_hub: the files of a revision, and the bytes of each, gone on with after a cut.

``hf_hub_download`` of the locked version (2.4) writes to a file of its own in each run and removes it at a cut: it goes
on within a run, and begins gigabytes anew in the next one. Its :func:`http_get`, which does that work, goes on where a
file ends, and is given a file here that stays. Names, redirects, most of what is tried again and what the hub says are
the library's. Bytes are compared with the revision's list (sha256, or git's id), which the library does not do.

Plain https: the hub's other way, Xet, begins a file anew after a cut. The library goes it where the hub offers it,
unless ``HF_HUB_DISABLE_XET`` is set; :func:`http_get` knows nothing of it. The token comes from ``HF_TOKEN`` alone and
is sent to the hub's own host alone; ``HF_ENDPOINT`` names another hub.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from build import huberrors, modelbytes, modelfolder
from build.console import human_bytes
from build.errors import HashMismatchError, ModelError, UsageError
from build.huberrors import ENDPOINT, TOKEN
from build.modelfolder import Item, Model, Progress

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

LARGEST = 50_000_000_000  # bytes of a file; what the library takes by plain https
LIST_SECONDS = 60.0  # for the list of files
# What the library makes of answers that are no hub's.
NO_HUB = (OSError, ValueError, KeyError, TypeError, AttributeError)
# Read when the library is first imported: no cache elsewhere, no telemetry (it would ask the hub for a list), no Xet,
# no token but the one that it is given, and the progress is ours. What it warns of is shown: that it waits, and why.
QUIET = {
    "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A hub, and who we are to it. ``endpoint``: None for the library's own default."""

    endpoint: str | None
    token: str | None = field(repr=False)


def find(scratch: Path) -> Hub:
    """The user's hub and token. ``scratch``: what the library would keep beside goes there (nothing does, today).

    To be called before the library is first imported. Raises :class:`UsageError` for a token that cannot be one.
    """
    os.environ.update(QUIET, HF_HOME=os.fspath(scratch / "huggingface"))
    token = os.environ.get(TOKEN, "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise UsageError(
            f"${TOKEN} is no token",
            why="it has spaces or signs in it that no token has",
            todo="set it anew, or unset it",
        )
    return Hub(endpoint=os.environ.get(ENDPOINT, "").rstrip("/") or None, token=token or None)


def files(hub: Hub, model: Model) -> tuple[Item, ...]:
    """The files of a revision, in the order of their paths.

    Raises :class:`ModelError` (no such revision or repository, a list that cannot be one), :class:`DeniedError`,
    :class:`NetworkError`, :class:`OfflineError` (``HF_HUB_OFFLINE``).
    """
    import httpx2  # noqa: PLC0415
    import huggingface_hub  # noqa: PLC0415 - half a second

    api = huggingface_hub.HfApi(endpoint=hub.endpoint, token=hub.token or False)
    what, tries = f"the list of files of {model.repo}", 0
    while True:
        try:
            info = api.model_info(model.repo, revision=model.revision, files_metadata=True, timeout=LIST_SECONDS)
            listed = tuple(sorted(map(_item, info.siblings or ()), key=lambda item: item.path))
            break
        except (httpx2.HTTPError, httpx2.InvalidURL, *NO_HUB) as error:
            tries += 1
            wait = huberrors.healing(error, tries)
            if wait is None:
                raise huberrors.explained(error, model, what, token=bool(hub.token)) from error
            time.sleep(wait)
    if faults := _list_faults(model, info.sha, listed):
        raise ModelError(
            f"what the hub lists is not {model}", why="; ".join(faults), todo="tell who keeps the hub (or the mirror)"
        )
    return listed


def receive(hub: Hub, model: Model, item: Item, part: Path, progress: Progress, heed: Callable[[], None]) -> int:
    """Complete ``part`` until it has the file's bytes, compared; what an earlier run left in it is gone on from.

    Gives the number of bytes that came in.

    ``progress`` is told bytes that were there too, and negative ones where a start was for nothing. Raises what
    :func:`files` raises, and :class:`HashMismatchError` for other bytes (``part`` is gone then).
    """
    begun, came = part.exists() and part.stat().st_size > 0, 0
    while True:
        with open(part, "r+b" if part.exists() else "w+b") as stream:
            sink = _Sink(stream, item, progress, heed)
            _pull(hub, model, sink)
            came += sink.came
            if sink.is_right():
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # a GPU may share this memory
                return came
        part.unlink()
        progress(-sink.have)
        if not begun:
            raise HashMismatchError(
                f"{item.path} of {model.repo} has other bytes than the revision's list says",
                why=f"{human_bytes(sink.have)} that are not {item.digest} ({human_bytes(item.size)})",
                todo="the bad bytes were removed: run it again; if it stays so, tell who keeps the hub (or the mirror)",
            )
        begun = False  # the bytes of an earlier run may be to blame: once more from zero


def _pull(hub: Hub, model: Model, sink: _Sink) -> None:
    """Bring what is lacking; returns early where the hub has more bytes than the file, or fewer."""
    import httpx2  # noqa: PLC0415
    from huggingface_hub import hf_hub_url  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled  # noqa: PLC0415
    from huggingface_hub.file_download import http_get  # noqa: PLC0415
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415

    item = sink.item
    url = hf_hub_url(model.repo, item.path, revision=model.revision, endpoint=hub.endpoint)
    headers = build_hf_headers(token=hub.token or False) | {"Accept-Encoding": "identity"}
    tries = 0
    while sink.have < item.size:
        before = sink.have
        try:
            http_get(
                url, cast("BinaryIO", sink), resume_size=before, headers=headers, expected_size=item.size,
                displayed_filename=item.path,
            )  # fmt: skip
        except _TooLong:
            return
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, HfHubHTTPError | OfflineModeIsEnabled):
                if error.errno is not None:
                    raise  # the disk's
                return  # "Consistency check failed": the hub's file is shorter
            if isinstance(error, HfHubHTTPError) and error.response.status_code == 416 and before:
                return  # it ends before our part does
            tries = 1 if sink.have > before else tries + 1
            wait = None if huberrors.was_tried_again(error) else huberrors.healing(error, tries)
            if wait is None:
                raise huberrors.explained(error, model, item.path, token=bool(hub.token)) from error
            sink.rest(wait)


class _TooLong(Exception):  # noqa: N818 - ends a transfer
    """More bytes come than the file has."""


class _Sink:
    """What :func:`http_get` takes for a file: hashes what is written, tells of it, and starts over where it must."""

    def __init__(self, stream: BinaryIO, item: Item, progress: Progress, heed: Callable[[], None]) -> None:
        self.stream = stream
        self.item = item
        self.progress = progress
        self.heed = heed
        self.have = self.came = 0
        self.made = modelbytes.hasher(item)
        self._take_up()

    def _take_up(self) -> None:
        """Hash the bytes of an earlier run; more than the file has are none of it."""
        there = os.fstat(self.stream.fileno()).st_size
        if there > self.item.size:
            there = self.stream.truncate(0)
        while self.have < there and (piece := self.stream.read(min(modelbytes.PIECE, there - self.have))):
            self._count(piece)

    def _count(self, data: bytes) -> None:
        self.heed()
        self.made.update(data)
        self.have += len(data)
        self.progress(len(data))

    def write(self, data: bytes) -> int:
        if self.have + len(data) > self.item.size:
            raise _TooLong
        self.stream.write(data)
        self.stream.flush()
        self.came += len(data)
        self._count(data)
        return len(data)

    def tell(self) -> int:
        return self.have

    def seek(self, place: int) -> int:
        """Only to the start, which is where :func:`http_get` goes when a hub answers a range with the whole."""
        if place:
            raise ValueError("this file is only written to at its end, or anew")
        return 0

    def truncate(self) -> int:
        self.stream.seek(0)
        self.stream.truncate()
        self.progress(-self.have)
        self.have = 0
        self.made = modelbytes.hasher(self.item)
        return 0

    def is_right(self) -> bool:
        return self.have == self.item.size and modelbytes.said(self.item, self.made) == self.item.digest

    def rest(self, seconds: float) -> None:
        """Wait, unless all is to end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.heed()
            time.sleep(min(left, 0.2))


def _item(sibling: RepoSibling) -> Item:
    if sibling.lfs is not None:
        return Item(path=sibling.rfilename, size=sibling.lfs.size, digest=f"sha256:{sibling.lfs.sha256}")
    size = -1 if sibling.size is None else sibling.size
    return Item(path=sibling.rfilename, size=size, digest=f"blob:{sibling.blob_id}")


def _list_faults(model: Model, revision: str | None, listed: Sequence[Item]) -> list[str]:
    faults = [] if revision == model.revision else [f"it is the list of {revision}"]
    if not listed:
        faults.append("it is empty")
    paths = Counter(item.path for item in listed)
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for item in listed:
        if not _is_path(item.path):
            faults.append(f"{item.path!r} is no path below a folder")
        if paths[item.path] > 1 or item.path in folders:
            faults.append(f"{item.path!r} stands in it twice")
        if item.size < 0 or not re.fullmatch(r"sha256:[0-9a-f]{64}|blob:[0-9a-f]{40}", item.digest):
            faults.append(f"{item.path!r} has no size or hash")
        if item.size > LARGEST:
            faults.append(f"{item.path!r} has {human_bytes(item.size)}: files of more than 50 GB come by Xet alone")
    return faults


def _is_path(text: str) -> bool:
    r"""Whether a repository's path may be written to below a folder.

    >>> [_is_path(text) for text in ("a/b.json", "/etc/x", "a/../../x", "a//b", ".spark-runtime/model.json", "a\\b")]
    [True, False, False, False, False, False]
    """
    path = PurePosixPath(text)
    return (
        bool(text) and text.isprintable() and str(path) == text and not path.is_absolute() and "\\" not in text
        and ".." not in path.parts and path.parts[0] != modelfolder.OURS
    )  # fmt: skip
