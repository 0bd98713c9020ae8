"""What huggingface_hub raises, as the errors that a person reads; and what of it another try can heal."""

from __future__ import annotations

import re

from build.errors import BuildError, DeniedError, ModelError, NetworkError, OfflineError, UsageError
from build.modelfolder import Model

TOKEN, ENDPOINT = "HF_TOKEN", "HF_ENDPOINT"  # variables that the library has, too
TRIES = 5  # in a row without a new byte
BACKOFF_SECONDS = 1.0
LONGEST_WAIT = 300.0  # seconds that a hub may ask us to wait
HEALING = (408, 429, 500, 502, 503, 504)

_ADDRESS = re.compile(r"(https?://)([^\s'\"/?]+)[^\s'\"]*")


def healing(error: Exception, tries: int) -> float | None:
    """Seconds to wait before another try; None where none would help, or enough were made."""
    import httpx2  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    if tries >= TRIES:
        return None
    backoff = BACKOFF_SECONDS * 2.0 ** (tries - 1)
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in HEALING:
            return None
        asked = error.response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else backoff
        return wait if wait <= LONGEST_WAIT else None
    return backoff if isinstance(error, (httpx2.TimeoutException, httpx2.NetworkError, httpx2.ProtocolError)) else None


def was_tried_again(error: Exception) -> bool:
    """Whether ``http_get`` tried that five times before it raised it."""
    import httpx2  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429)
    return isinstance(error, httpx2.ConnectError | httpx2.TimeoutException | httpx2.RemoteProtocolError)


def explained(error: Exception, model: Model, what: str, *, token: bool) -> BuildError:
    """The error that a person reads. ``what`` was asked for; ``token``: one was sent along."""
    import httpx2  # noqa: PLC0415
    from huggingface_hub import errors  # noqa: PLC0415

    words = _words(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return OfflineError(f"{what} could not be had", why="HF_HUB_OFFLINE is set", todo="unset it, or use --offline")
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(
            f"the hub has no revision {model.revision} of {model.repo}", why=words,
            todo="the profile names it: correct the profile, or ask whoever keeps that repository",
        )  # fmt: skip
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403) or isinstance(error, errors.GatedRepoError):
            return _denied(model, words, token=token)
        if status == 404:
            which = f"{what} is not in {model}" if isinstance(error, errors.RemoteEntryNotFoundError) else ""
            return ModelError(
                which or f"the hub has no model {model.repo}", why=words,
                todo=f"correct the profile; a private repository is shown only to who has a token in ${TOKEN}",
            )  # fmt: skip
        todo = f"wait, then run it again; with a token in ${TOKEN} a hub allows more" if status == 429 else ""
        return _unreached(what, f"HTTP {status}: {words}", todo)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return UsageError(f"${ENDPOINT} is no address of a hub", why=words, todo="set it anew, or unset it")
    if isinstance(error, httpx2.HTTPError):
        return _unreached(what, f"{type(error).__name__}: {words}")
    return _unreached(what, f"no model hub answers like that ({type(error).__name__}: {words})")


def _denied(model: Model, words: str, *, token: bool) -> DeniedError:
    if not token:
        why = f"{words}; no token was sent: ${TOKEN} is not set"
        todo = (
            f"ask for access on the model's page where it is gated, then run it again with {TOKEN}=… before the command"
        )
    else:
        why = f"{words}; the token of ${TOKEN} was sent"
        todo = "ask for access on the model's page with that account, or use another's token; it may have expired"
    return DeniedError(f"the hub does not give us {model.repo}", why=why, todo=todo)


def _unreached(what: str, why: str, todo: str = "") -> NetworkError:
    return NetworkError(
        f"{what} could not be had",
        why=why,
        todo=todo or "look at the network and run it again: it goes on where it was",
    )


def _words(error: Exception) -> str:
    """What the hub said, in one line; addresses are cut to their host, because signed ones let anybody in."""
    text = getattr(error, "server_message", None) or str(error) or "no more is known"
    hosts = _ADDRESS.sub(lambda found: found[1] + found[2].rpartition("@")[2], " ".join(text.split()))
    return hosts if len(hosts) <= 300 else f"{hosts[:300]} …"
