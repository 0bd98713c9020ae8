"""cosign as a child: what it is given and what it may know; and what bundles say, whoever wrote them.

A stand-in takes the place of cosign here, a real process that notes what it got; tests/engine has the real one.
"""

import base64
import hashlib
import json
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import cosign
from build.cosign import Cosign, Trust
from build.errors import SigningError, VerifyError

DER = b"0Y0\x13\x06\x07*\x86H\xce=\x02\x01\x06\x08*\x86H\xce=\x03\x01\x07\x03B\x00"
BODY = base64.b64encode(DER).decode()
PEM = f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----\n"
DIGEST = f"sha256:{'a' * 64}"
SECRETS = {"GITHUB_TOKEN": "ghs-1", "GH_TOKEN": "ghs-2", "REGISTRY_TOKEN": "t0ken-1", "REGISTRY_USER": "otto"}
# Notes its arguments, its environment and the files that it was given; then does as it is told.
PROGRAM = """
import json, os, sys
files = {}
for argument in sys.argv[1:]:
    if os.path.isfile(argument):
        files[argument] = open(argument).read()
json.dump({"argv": sys.argv[1:], "env": dict(os.environ), "files": files}, open(NOTES, "w"))
if "--bundle" in sys.argv and sys.argv[1] == "attest-blob":
    open(sys.argv[sys.argv.index("--bundle") + 1], "w").write("a bundle")
print(SAYS)
print(COMPLAINS, file=sys.stderr)
sys.exit(STATUS)
"""


@pytest.fixture
def tool(tmp_path):
    """Makes a cosign that says so and ends so; what it was given is in ``heard``."""
    notes = tmp_path / "notes"

    class Tool(Cosign):
        @property
        def heard(self):
            return json.loads(notes.read_text())

    def make(*, says="", complains="", status=0):
        script = tmp_path / "cosign.py"
        settings = {"NOTES": str(notes), "SAYS": says, "COMPLAINS": complains, "STATUS": status}
        script.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()) + PROGRAM)
        return Tool([sys.executable, script])

    return make


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in os.environ:
        if name.startswith(("COSIGN_", "ACTIONS_", "GITHUB_", "SIGSTORE_", "TUF_", "GH_", "REGISTRY_")):
            monkeypatch.delenv(name)


def crowded(monkeypatch, **more):
    told = {
        **SECRETS, "COSIGN_PASSWORD": "pw-1", "COSIGN_PRIVATE_KEY": "key-1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "id-1",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://id.example", "AWS_SECRET_ACCESS_KEY": "aws-1", "SIGSTORE_X": "x",
        "https_proxy": "http://proxy.example", **more,
    }  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)


KEYS = {
    "cosign.key": {"COSIGN_PASSWORD"},
    "env://COSIGN_PRIVATE_KEY": {"COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY"},
    "": {"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "SIGSTORE_X", "https_proxy"},
    "awskms:///alias/key": {
        "COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL",
        "AWS_SECRET_ACCESS_KEY", "SIGSTORE_X", "https_proxy", "REGISTRY_USER",
    },
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_the_child_that_signs_knows_what_it_needs_and_no_token_of_a_registry(tool, monkeypatch, key):
    crowded(monkeypatch)
    made = tool()
    assert made.attest(key, cosign.SIGNATURE, b'{"a": 1}', "ghcr.io/o/n", DIGEST) == b"a bundle"
    named = {"COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY", "AWS_SECRET_ACCESS_KEY", "SIGSTORE_X", "https_proxy", *SECRETS}
    env = made.heard["env"]
    assert {name for name in env if name in named or name.startswith("ACTIONS_")} == KEYS[key]
    for secret in ("ghs-1", "ghs-2", "t0ken-1"):
        assert secret not in env.values()
    assert not [text for text in made.heard["argv"] if "pw-1" in text or "key-1" in text]


def test_the_child_that_checks_knows_no_secret(tool, monkeypatch):
    crowded(monkeypatch)
    made = tool()
    made.check(b"bundle", cosign.SIGNATURE, b"manifest", Trust(key=PEM))
    assert not set(made.heard["env"].values()) & {"ghs-1", "ghs-2", "t0ken-1", "pw-1", "key-1", "id-1", "aws-1"}
    made.check_simple(b"payload", "c2ln", Trust(key=PEM))
    assert not set(made.heard["env"].values()) & {"ghs-1", "ghs-2", "t0ken-1", "pw-1", "key-1", "id-1", "aws-1"}


def test_a_statement_is_signed_of_a_digest(tool):
    made = tool()
    made.attest("cosign.key", "https://t", b'{"a": 1}', "ghcr.io/o/n", DIGEST)
    argv = made.heard["argv"]
    assert argv[0] == "attest-blob"
    assert argv[argv.index("--hash") + 1] == "a" * 64
    assert argv[argv.index("--key") + 1] == "cosign.key"
    assert "--tlog-upload=false" in argv
    assert '{"a": 1}' in made.heard["files"].values()
    made.attest("", "https://t", b"{}", "ghcr.io/o/n", DIGEST)
    assert not {"--key", "--tlog-upload=false"} & set(made.heard["argv"])


def test_a_check_names_whom_to_trust(tool, tmp_path):
    made = tool()
    made.check(b"bundle", "https://t", b"manifest", Trust(key=PEM))
    argv, files = made.heard["argv"], made.heard["files"]
    assert {"bundle", "manifest", PEM, cosign.NO_AUTHORITY.decode()} == set(files.values())
    assert files[argv[argv.index("--key") + 1]] == PEM
    root = tmp_path / "root.json"
    root.write_text("root")
    made.check(b"bundle", "https://t", b"manifest", Trust(identity="https://w", issuer="https://i", root=root))
    argv = made.heard["argv"]
    assert argv[argv.index("--certificate-identity") + 1] == "https://w"
    assert argv[argv.index("--certificate-oidc-issuer") + 1] == "https://i"
    assert argv[argv.index("--trusted-root") + 1] == str(root)
    assert not {"--key", "--insecure-ignore-tlog"} & set(argv)


@pytest.mark.parametrize("text", ["/etc/passwd", "https://evil.example/x", "--key", "c2ln", "", "\ud800", "a\nb"])
def test_an_old_signature_is_no_path_and_no_url(tool, text):
    made = tool()
    made.check_simple(b"payload", text, Trust(key=PEM))
    argv, files = made.heard["argv"], made.heard["files"]
    file = argv[argv.index("--signature") + 1]
    assert files[file] == text.encode(errors="replace").decode()
    assert text not in argv or text == "--key"
    assert argv.count("--key") == 1


def test_what_cosign_says_is_told(tool):
    bad = tool(complains="Error: no matching signatures\nmain.go:1: error during command execution", status=1)
    with pytest.raises(VerifyError, match="a signature is not good") as caught:
        bad.check(b"bundle", "https://t", b"manifest", Trust(key=PEM))
    assert caught.value.why == "no matching signatures"
    with pytest.raises(VerifyError) as caught:
        tool(status=3).check(b"bundle", "https://t", b"manifest", Trust(key=PEM))
    assert caught.value.why == "cosign says no more"


@pytest.mark.parametrize(
    ("complains", "todo"),
    [
        ("Error: decrypt: encrypted: decryption failed", "COSIGN_PASSWORD"),
        ("Error: open x: no such file", "env://NAME"),
    ],
)
def test_why_it_could_not_sign_is_told(tool, complains, todo):
    with pytest.raises(SigningError, match="could not sign") as caught:
        tool(complains=complains, status=1).sign("cosign.key", b"x")
    assert caught.value.why == complains
    assert todo in caught.value.todo


def test_signatures_and_keys_are_read_from_what_it_prints(tool):
    assert tool(says="c2ln").sign("cosign.key", b"x") == "c2ln"
    assert tool(says=f"some words\n{PEM}").public_key("cosign.key") == PEM
    with pytest.raises(SigningError, match="no public key"):
        tool(says="nothing").public_key("cosign.key")


def test_a_variable_that_is_not_set_is_named(tool):
    with pytest.raises(SigningError, match="there is no key in NOT_SET"):
        tool().sign("env://NOT_SET", b"x")


def test_which_key_signs(monkeypatch):
    assert cosign.chosen_key(None) is None
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "https://id.example")
    assert cosign.chosen_key(None) == ""
    monkeypatch.setenv("COSIGN_PRIVATE_KEY", "k")
    assert cosign.chosen_key(None) == "env://COSIGN_PRIVATE_KEY"
    assert cosign.chosen_key("mine.key") == "mine.key"


def test_who_signs_is_told_for_the_record(tool, monkeypatch):
    told = cosign.signer(tool(says=PEM), "cosign.key")
    assert (told.kind, told.identity, told.issuer) == ("key", hashlib.sha256(DER).hexdigest(), "")
    monkeypatch.setenv("GITHUB_WORKFLOW_REF", "o/r/.github/workflows/build.yml@refs/heads/main")
    told = cosign.signer(tool(), "")
    assert told.identity == "https://github.com/o/r/.github/workflows/build.yml@refs/heads/main"
    assert (told.kind, told.issuer) == ("keyless", "https://token.actions.githubusercontent.com")


def test_a_keys_name_hangs_on_no_line_break():
    name = cosign.key_id(PEM)
    for body in (BODY, f"{BODY[:9]}\n{BODY[9:]}", f"{BODY}\r"):
        assert cosign.key_id(f"\n-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n\n") == name


@pytest.mark.parametrize(
    "text",
    ["", "x", PEM.replace("PUBLIC", "PRIVATE"), PEM.replace("PUBLIC", "ENCRYPTED SIGSTORE PRIVATE"), PEM + PEM,
     PEM.replace(BODY, "#"), PEM.replace(BODY, BODY[:-1]), f"x{PEM}"],
)  # fmt: skip
def test_what_is_no_public_key_has_no_name(text):
    with pytest.raises(ValueError):
        cosign.key_id(text)


# what bundles say


def bundle(payload):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return json.dumps({"dsseEnvelope": {"payload": base64.b64encode(data).decode()}}).encode()


def said(**change):
    return {
        "predicateType": "https://t",
        "subject": [{"digest": {"sha256": "a" * 64}}],
        "predicate": {"b": 1},
        **change,
    }


def test_a_bundle_states_something_of_a_digest():
    told = cosign.statement(bundle(said()))
    assert (told.predicate_type, told.subject, told.predicate) == ("https://t", DIGEST, {"b": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"5", b"null", b"\xff", b"{}", b'{"dsseEnvelope": 5}', b'{"dsseEnvelope": {"payload": 5}}',
        b'{"dsseEnvelope": {"payload": "#"}}', '{"dsseEnvelope": {"payload": "é"}}'.encode(), b"[" * 100_000,
        b'{"a":' * 50_000, bundle(b"\xff"), bundle(b"[" * 50_000), bundle([]), bundle(5), bundle({}),
        bundle(said(subject=[])), bundle(said(subject=said()["subject"] * 2)), bundle(said(subject="x")),
        bundle(said(subject=[{"digest": {"sha512": "x"}}])), bundle(said(subject=[{"digest": "x"}])),
        bundle(said(subject=[5])), bundle(said(subject=None)), bundle(said(predicate=None)), bundle(said(predicate=5)),
        bundle(said(predicate="x")), bundle(said(predicate=[])), bundle(said(predicate=[["a", 1]])),
    ],
)  # fmt: skip
def test_what_is_no_statement_is_refused(data):
    with pytest.raises(VerifyError, match="is none"):
        cosign.statement(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["digest", "sha256", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["predicateType", "subject", "predicate"]), JSON) | JSON)
def test_whatever_is_stated_it_is_a_statement_or_our_error(payload):
    try:
        told = cosign.statement(bundle(payload))
    except VerifyError:
        return
    assert isinstance(told.predicate, dict)
    assert told.subject.startswith("sha256:")


def test_the_old_form():
    told = json.loads(cosign.simple_payload("ghcr.io/o/n", DIGEST))
    assert told["critical"]["image"] == {"docker-manifest-digest": DIGEST}
    assert told["critical"]["identity"] == {"docker-reference": "ghcr.io/o/n"}
    assert cosign.simple_tag(DIGEST) == f"sha256-{'a' * 64}.sig"
