"""Signing and checking with cosign, from its own root: in-toto statements in Sigstore bundles, and old signatures.

cosign is only ever given files: it talks to no registry, so that it needs no credentials. Formats: in-toto attestation
framework (Statement), DSSE, Sigstore bundle 0.3 (what cosign 3 writes itself; version 2.4 and newer read it), cosign's
SIGNATURE_SPEC.md ("simple signing") for clients of version 2.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import proc
from build.canonical import canonical_json
from build.errors import CommandError, SigningError, VerifyError
from build.published import Signer

PROGRAM = Path("usr/bin/cosign")
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
CONTENT, PREDICATE = "dev.sigstore.bundle.content", "dev.sigstore.bundle.predicateType"  # annotations of a bundle
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"  # the predicate type of cosign 3's signatures of images
SIMPLE_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIMPLE_SIGNATURE = "dev.cosignproject.cosign/signature"
# What says that a job of GitHub Actions may have an identity (its documentation, "OpenID Connect").
ACTIONS_IDENTITY = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
KEY_VARIABLE = "COSIGN_PRIVATE_KEY"
IDENTITY_PREFIX = "ACTIONS_ID_TOKEN_"
ROOT_PREFIXES = ("SIGSTORE_", "TUF_")  # settings of Sigstore's root of trust
SECRETS = ("GITHUB_TOKEN", "GH_TOKEN", "REGISTRY_TOKEN")  # of registries, which cosign does not talk to
# A root of trust that trusts no authority: all that checking by a key needs, and no network.
NO_AUTHORITY = b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
PEM = re.compile(r"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What was signed of a digest: the type of the claim, and the claim."""

    predicate_type: str
    subject: str
    predicate: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whose signatures count: of a public key (PEM), or of a certificate's identity by an issuer.

    ``root``: a Sigstore TrustedRoot file, so that certificates are checked without a network; None: cosign fetches it.
    """

    key: str = ""
    identity: str = ""
    issuer: str = ""
    root: Path | None = None


class Cosign:
    """cosign as it runs here. ``argv``: the start of its command line."""

    def __init__(self, argv: Sequence[proc.Arg], *, verbose: bool = False) -> None:
        self.argv = [os.fspath(arg) for arg in argv]
        self.verbose = verbose

    def public_key(self, key: str) -> str:
        """The public key of a private one, PEM; :class:`SigningError` where it cannot be read."""
        told = self._sign(["public-key", "--key", key], key)
        found = PEM.search(told.stdout)
        if not found:
            raise SigningError(f"cosign gave no public key of {key}")
        return f"{found[0]}\n"

    def attest(self, key: str, predicate_type: str, predicate: bytes, name: str, digest: str) -> bytes:
        """A signed statement of a digest, as a Sigstore bundle. An empty ``key``: as the job that runs."""
        with tempfile.TemporaryDirectory(prefix="attest-") as folder:
            place = Path(folder)
            (place / "predicate").write_bytes(predicate)
            bundle = place / "bundle"
            self._sign(
                [
                    "attest-blob", "--yes", "--new-bundle-format", "--bundle", bundle, "--type", predicate_type,
                    "--predicate", place / "predicate", "--hash", digest.removeprefix("sha256:"), *_by(key), name,
                ],
                key,
            )  # fmt: skip
            return bundle.read_bytes()

    def sign(self, key: str, payload: bytes) -> str:
        """The signature of some bytes by a key, base64."""
        with tempfile.TemporaryDirectory(prefix="sign-") as folder:
            file = Path(folder) / "payload"
            file.write_bytes(payload)
            done = self._sign(["sign-blob", "--yes", *_by(key), file], key)
            return done.stdout.strip()

    def check(self, bundle: bytes, predicate_type: str, manifest: bytes, trust: Trust) -> None:
        """That a bundle is a statement of this type, of these bytes, signed by whom we trust; else VerifyError."""
        with tempfile.TemporaryDirectory(prefix="check-") as folder:
            place = Path(folder)
            (place / "bundle").write_bytes(bundle)
            (place / "manifest").write_bytes(manifest)
            argv: list[proc.Arg] = ["verify-blob-attestation", "--new-bundle-format", "--bundle", place / "bundle"]
            argv += ["--type", predicate_type, *_trusted(trust, place), place / "manifest"]
            self._check(argv, predicate_type)

    def check_simple(self, payload: bytes, signature: str, trust: Trust) -> None:
        """The same of an old signature by a key."""
        with tempfile.TemporaryDirectory(prefix="check-") as folder:
            place = Path(folder)
            (place / "payload").write_bytes(payload)
            (place / "key").write_text(trust.key, encoding="ascii")
            # A file: cosign would take a text for the path or the URL of one, and it is somebody else's text.
            (place / "signature").write_text(signature, encoding="utf-8", errors="replace")
            argv: list[proc.Arg] = ["verify-blob", "--key", place / "key", "--insecure-ignore-tlog"]
            self._check([*argv, "--signature", place / "signature", place / "payload"], "old signature")

    def _check(self, argv: Sequence[proc.Arg], what: str) -> None:
        try:
            proc.run([*self.argv, *argv], env=_checking(), verbose=self.verbose)
        except CommandError as error:
            words = [line for line in error.output.splitlines() if line.startswith("Error:")]
            raise VerifyError(
                f"a signature is not good ({what})", why=(words or ["cosign says no more"])[-1].removeprefix("Error: ")
            ) from error

    def _sign(self, argv: Sequence[proc.Arg], key: str) -> proc.Completed:
        try:
            return proc.run([*self.argv, *argv], env=_signing(key), verbose=self.verbose)
        except CommandError as error:
            words = [line for line in error.output.splitlines() if "rror" in line]
            locked = "inappropriate ioctl" in error.output or "decrypt" in error.output
            raise SigningError(
                "cosign could not sign",
                why=(words or [error.what])[0],
                todo="the key's password goes into COSIGN_PASSWORD (empty for a key without one)"
                if locked
                else "look at the key: a file, env://NAME, or a key service that cosign knows",
            ) from error


def chosen_key(asked: str | None) -> str | None:
    """The key to sign with: what was asked for, else the variable's, else "" for a job's own identity, else None."""
    if asked:
        return asked
    if os.environ.get(KEY_VARIABLE):
        return f"env://{KEY_VARIABLE}"
    return "" if os.environ.get(ACTIONS_IDENTITY) else None


def signer(cosign: Cosign, key: str) -> Signer:
    """Who signs, for a record: the key's sha256, or the workflow that runs and who says so."""
    if key:
        return Signer(kind="key", identity=key_id(cosign.public_key(key)))
    workflow = os.environ.get("GITHUB_WORKFLOW_REF", "")
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return Signer(kind="keyless", identity=f"{server}/{workflow}", issuer=GITHUB_ISSUER)


def key_id(pem: str) -> str:
    """A public key's name: the sha256 of its DER form, which no line break changes; ValueError for what is none."""
    if not PEM.fullmatch(pem.strip()):
        raise ValueError("no PEM file of one public key")
    body = "".join(line for line in pem.strip().splitlines() if not line.startswith("-----"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def statement(bundle: bytes) -> Statement:
    """What a bundle states, not checked yet; :class:`VerifyError` for what is no bundle of one statement."""
    try:
        told = json.loads(bundle)
        payload = json.loads(base64.b64decode(told["dsseEnvelope"]["payload"], validate=True))
        (subject,) = payload["subject"]
        digest = f"sha256:{subject['digest']['sha256']}"
        predicate = {**payload["predicate"]}  # of nothing but an object
        return Statement(predicate_type=str(payload["predicateType"]), subject=digest, predicate=predicate)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerifyError("what is attached as a signed statement is none", why=repr(error)) from error


def simple_payload(repository: str, digest: str) -> bytes:
    """What old signatures sign (cosign's SIGNATURE_SPEC.md, "Simple signing")."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return canonical_json({"critical": critical, "optional": None})


def simple_tag(digest: str) -> str:
    """Where old signatures are kept."""
    return f"{digest.replace(':', '-')}.sig"


def _by(key: str) -> list[str]:
    """Who signs. A key's signature is not sent to the public log: it can be checked without one."""
    return ["--key", key, "--tlog-upload=false"] if key else []


def _trusted(trust: Trust, place: Path) -> list[proc.Arg]:
    if trust.key:
        (place / "key").write_text(trust.key, encoding="ascii")
        (place / "root").write_bytes(NO_AUTHORITY)
        return ["--key", place / "key", "--insecure-ignore-tlog", "--trusted-root", place / "root"]
    root: list[proc.Arg] = ["--trusted-root", trust.root] if trust.root else []
    return ["--certificate-identity", trust.identity, "--certificate-oidc-issuer", trust.issuer, *root]


def _checking() -> dict[str, str]:
    """What cosign may know to check: a network, to fetch Sigstore's root of trust; no secret of ours."""
    named = {name: value for name, value in os.environ.items() if name.startswith(ROOT_PREFIXES)}
    return {**named, **proc.network_env()}


def _signing(key: str) -> dict[str, str]:
    """What cosign may know to sign: the key's variable and password, or a network and the job's identity."""
    found = {name: value for name, value in os.environ.items() if name == "COSIGN_PASSWORD"}
    if not key:
        return {**_checking(), **{name: text for name, text in os.environ.items() if name.startswith(IDENTITY_PREFIX)}}
    if key.startswith("env://"):
        name = key.removeprefix("env://")
        if name not in os.environ:
            raise SigningError(f"there is no key in {name}", why="the variable is not set", todo="set it, or --key")
        return {**found, name: os.environ[name]}
    if "://" in key:  # a key service, with its own variables
        found = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return found
