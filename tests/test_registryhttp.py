"""Requests to a real registry on loopback: who gets which token, what is tried again and for how long, what is refused."""

import contextlib
import json
import subprocess
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import registryhttp
from build.credentials import Credentials
from build.errors import DeniedError, NetworkError, RegistryError
from build.registryhttp import Connection
from build.registrylogin import Access
from tests import registryserver
from tests.registryserver import ALWAYS, ENDLESS, Login

NAME = "team/app"
READ, WRITE = Access(name=NAME, write=False), Access(name=NAME, write=True)
TAGS = f"/v2/{NAME}/tags/list"
UPLOADS = f"/v2/{NAME}/blobs/uploads/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        yield made


@pytest.fixture
def other():
    with registryserver.serve() as made:
        yield made


def connection(server, secret=None, **more):
    who = Credentials(user="me", secret=secret, source="the test", **more) if secret is not None else None
    return Connection(server.place, who)


def known(server, **more):
    """Someone whom the server lets in."""
    server.login = Login(**more)
    return connection(server, server.login.password)


# who we are


def test_nobody_is_asked_for_where_all_may_come_in(server):
    connection(server).request("GET", TAGS, READ)
    assert [(one.path, one.authorization) for one in server.asked] == [(TAGS, "")]


def test_a_token_is_had_once_for_each_scope(server):
    http = known(server)
    for access in (READ, WRITE, READ, WRITE):
        http.request("GET", TAGS, access)
    assert server.login.given == [("me", READ.scopes), ("me", WRITE.scopes)]
    told = [one.authorization for one in server.asked if one.path == TAGS]
    assert [bool(text) for text in told] == [False, True, False, True, True, True]
    assert all(text.startswith(("Bearer token-", "")) for text in told)


def test_a_token_that_expired_is_had_anew(server):
    http = known(server, uses=2)
    for _ in range(5):
        http.request("GET", TAGS, READ)
    assert len(server.login.given) == 3


def test_threads_that_are_refused_together_get_one_token(server):
    http = known(server)
    everyone = threading.Barrier(6)
    server.fault("GET", "tags", times=6, before=lambda _: everyone.wait(10))
    threads = [threading.Thread(target=http.request, args=("GET", TAGS, READ)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.login.given) == 1
    assert server.count("GET", "tags") == 12


def test_a_wrong_password_is_told_and_not_shown(server):
    server.login = Login()
    with pytest.raises(DeniedError) as caught:
        connection(server, "wr0ng-word").request("GET", TAGS, READ)
    assert "me, as the test says" in caught.value.why
    assert "wr0ng-word" not in str(caught.value)
    assert registryserver.basic("me", "wr0ng-word").split()[1] not in str(caught.value)


def test_a_right_that_is_lacking_is_told(server):
    http = known(server, rights={NAME: {"pull"}})
    http.request("GET", TAGS, READ)
    with pytest.raises(DeniedError, match="does not allow us to write to team/app") as caught:
        http.request("POST", UPLOADS, WRITE, ok=(202,))
    assert "UNAUTHORIZED" in caught.value.why
    assert server.count("POST") == 1 + registryhttp.LOGINS


def test_403_is_told_in_the_registrys_words(server):
    body = json.dumps({"errors": [{"code": "DENIED", "message": "no\x1b[2J such\nluck"}]}).encode()
    server.fault("GET", TAGS, status=403, body=body)
    with pytest.raises(DeniedError) as caught:
        connection(server).request("GET", TAGS, READ)
    assert "HTTP 403 (DENIED: no[2J suchluck); we are nobody" in caught.value.why


def test_a_name_and_a_password_go_with_each_request_where_that_is_asked_for(server):
    http = known(server, kind="basic")
    http.request("GET", TAGS, READ)
    http.request("GET", TAGS, READ)
    assert [bool(one.authorization) for one in server.asked] == [False, True, True]
    with pytest.raises(DeniedError, match="it wants a name and a password, and we are nobody"):
        raise_in(lambda: connection(server).request("GET", TAGS, READ))
    with pytest.raises(DeniedError, match="does not allow us"):
        connection(server, "wrong").request("GET", TAGS, READ)


def raise_in(call):
    """The error of a call, with its reason as its text."""
    try:
        call()
    except (DeniedError, RegistryError, NetworkError) as error:
        raise type(error)(error.why) from error


def test_a_refresh_token_becomes_a_token(server):
    server.login = Login(identity="refresh-me")
    who = Credentials(user="", secret="", source="the test", identity="refresh-me")
    Connection(server.place, who).request("GET", TAGS, WRITE)
    assert server.login.given == [("identity", WRITE.scopes)]
    bad = Credentials(user="", secret="", source="the test", identity="old-one")
    with pytest.raises(DeniedError) as caught:
        Connection(server.place, bad).request("GET", TAGS, WRITE)
    assert "old-one" not in str(caught.value)
    assert all("refresh-me" not in one.path for one in server.asked)


@pytest.mark.parametrize("told", ["Negotiate", "", "Digest realm=x"])
def test_a_login_that_we_do_not_know_is_named(server, told):
    server.fault("GET", TAGS, status=401, headers={"WWW-Authenticate": told})
    with pytest.raises(DeniedError, match=told.split(" ", maxsplit=1)[0].lower() or "none named"):
        raise_in(lambda: connection(server, "x").request("GET", TAGS, READ))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"status": 200, "body": b"<html>"}, "HTTP 200"),
        ({"status": 200, "body": b'{"token": "a\\nb"}'}, "HTTP 200"),
        ({"status": 404}, "HTTP 404"),
        ({"status": 302, "headers": {"Location": "/v2/"}}, "HTTP 302"),
        ({"status": 503, "times": ALWAYS}, "HTTP 503"),
        ({"status": 200, "body": ENDLESS}, "answers more than"),
    ],
)
def test_a_token_server_that_gives_none_is_named(server, monkeypatch, fault, why):
    monkeypatch.setattr(registryhttp, "JSON_LIMIT", 1 << 20)
    http = known(server)
    server.fault("GET", "/token", **fault)
    with pytest.raises(RegistryError) as caught:
        http.request("GET", TAGS, READ)
    assert why in str(caught.value)
    assert server.count("GET", TAGS) == 1


# who sees it


def test_a_redirect_to_another_host_goes_without_the_token(server, other):
    http = known(server)
    other.repo(NAME).blobs["sha256:x"] = b"data"
    server.repo(NAME).blobs["sha256:x"] = b""
    server.elsewhere = other.url
    assert http.request("GET", f"/v2/{NAME}/blobs/sha256:x", READ).content == b"data"
    assert [one.authorization for one in other.asked] == [""]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_registry_keeps_the_token(server, status):
    http = known(server)
    server.fault("GET", "/old", times=3, status=status, headers={"Location": TAGS})
    http.request("GET", "/old", READ)
    http.request("GET", "/old", READ)
    assert [bool(one.authorization) for one in server.asked if one.path == TAGS] == [False, True, True]


def test_another_hosts_challenge_gets_no_credentials(server, other):
    http = known(server)
    other.login = Login()
    other.fault("GET", "/files/", status=401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token"'})
    server.repo(NAME).blobs["sha256:x"] = b""
    server.elsewhere = other.url
    with pytest.raises(DeniedError):
        http.request("GET", f"/v2/{NAME}/blobs/sha256:x", READ)
    assert [(one.path, one.authorization) for one in other.asked] == [("/files/sha256:x", "")]


def test_a_host_whose_name_begins_as_ours_is_another(monkeypatch):
    """127.0.0.1:4567 is not 127.0.0.1:45670, nor is ghcr.io ghcr.io.example."""
    for port in range(2100, 6500):
        try:
            with registryserver.serve(port=port) as server, registryserver.serve(port=port * 10) as other:
                http = known(server)
                http.request("GET", TAGS, READ)
                http.request("GET", f"{other.url}{TAGS}", READ)
                assert f"{other.url}/".startswith(server.url)
                assert [one.authorization for one in other.asked] == [""]
                return
        except OSError:
            continue
    pytest.fail("no two such ports are free")


@pytest.mark.parametrize(
    "location",
    ["@{}/x", "http:{}/x", "//user:pw@{}/x", "ftp://{}/x", "http://[{}/x", "file:///etc/passwd", "", "?", "#x"],
)
def test_wherever_a_location_leads_the_token_stays_here(server, other, location):
    http = known(server)
    http.request("GET", TAGS, READ)
    server.fault("GET", "/go", status=307, headers={"Location": location.format(other.place)})
    with contextlib.suppress(RegistryError, NetworkError, DeniedError):
        http.request("GET", "/go", READ)
    assert all(not one.authorization for one in other.asked)


def test_a_redirect_that_never_ends_is_left(server):
    server.fault("GET", "/a", status=307, headers={"Location": TAGS}, body=ENDLESS)
    assert connection(server).request("GET", "/a", READ).status_code == 200


def test_circles_are_left(server):
    server.fault("GET", "/a", times=ALWAYS, status=307, headers={"Location": "/a"})
    with pytest.raises(RegistryError, match="in circles"):
        connection(server).request("GET", "/a", READ)
    assert server.count("GET", "/a") == registryhttp.REDIRECTS


def test_a_body_is_never_sent_on_to_where_a_redirect_leads(server, other):
    server.fault("PUT", "/a", status=307, headers={"Location": f"{other.url}/b"})
    with pytest.raises(RegistryError, match="refused"):
        connection(server).request("PUT", "/a", WRITE, ok=(201,), data=b"bytes")
    assert other.asked == []


def test_a_token_for_one_host_is_not_shown_to_the_token_server_of_another(server, other):
    server.login = Login(realm=f"{other.url}/token")
    other.login = Login()
    with pytest.raises(DeniedError, match="does not let us in") as caught:
        connection(server, "ghs-secret", only="ghcr.io").request("GET", TAGS, READ)
    assert "the test is for nobody else" in caught.value.why
    assert other.asked == []


def test_nothing_goes_without_tls_to_another_machine(server):
    server.login = Login(realm="http://192.0.2.1/token")  # the guard would end the test
    with pytest.raises(RegistryError, match="without TLS"):
        connection(server, "secret").request("GET", TAGS, READ)
    with pytest.raises(RegistryError, match="without TLS"):
        connection(server).request("GET", "http://192.0.2.1/x", READ)


def test_netrc_is_for_others(server, other, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login someone password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    connection(server).request("GET", TAGS, READ)
    http = known(server)
    server.repo(NAME).blobs["sha256:x"], other.repo(NAME).blobs["sha256:x"] = b"", b""
    server.elsewhere = other.url
    http.request("GET", f"/v2/{NAME}/blobs/sha256:x", READ)
    told = [one.authorization for one in (*server.asked, *other.asked)]
    assert not [text for text in told if text.startswith("Basic") and text != registryserver.basic("me", "s3cret-word")]
    assert told[-1] == ""


def test_no_cookies_are_kept(server):
    http = connection(server)
    server.fault("GET", TAGS, changed={"Set-Cookie": "sid=1; Path=/"})
    http.request("GET", TAGS, READ)
    http.request("GET", TAGS, READ)
    assert all("cookie" not in one.headers for one in server.asked)


# what heals


@pytest.mark.parametrize("status", registryhttp.HEALING)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_heals_is_tried_again(server, status, method):
    server.fault(method, TAGS, times=registryhttp.TRIES - 1, status=status, body=b"<html>")
    assert connection(server).request(method, TAGS, READ).status_code == 200
    assert len(server.asked) == registryhttp.TRIES


def test_a_post_that_opened_an_upload_is_tried_again(server):
    server.fault("POST", UPLOADS, lost=True)
    server.fault("POST", UPLOADS, status=503)
    answer = connection(server).request("POST", UPLOADS, WRITE, ok=(202,))
    assert answer.headers["Location"].startswith(f"{UPLOADS}2")


def test_a_patch_is_its_senders_business(server):
    server.fault("PATCH", "/x", times=ALWAYS, status=503)
    with pytest.raises(RegistryError):
        connection(server).request("PATCH", "/x", WRITE, data=b"bytes")
    assert server.count("PATCH") == 1


def test_what_never_heals_is_named_after_some_tries(server):
    server.fault("GET", TAGS, times=ALWAYS, status=502, body=b"<html>bad gateway</html>")
    with pytest.raises(RegistryError, match="is in trouble") as caught:
        connection(server).request("GET", TAGS, READ)
    assert caught.value.why == f"GET {TAGS}: HTTP 502, 5 times"
    assert len(server.asked) == registryhttp.TRIES


def test_what_cannot_heal_is_said_at_once(server):
    server.fault("GET", TAGS, status=413)
    with pytest.raises(RegistryError, match="refused"):
        connection(server).request("GET", TAGS, READ)
    assert len(server.asked) == 1


def test_the_wait_that_is_asked_for_is_kept_where_it_is_no_longer_than_ours(server, monkeypatch, capsys):
    monkeypatch.setattr(registryhttp, "LONGEST_WAIT", 1.01)
    server.fault("GET", TAGS, status=429, headers={"Retry-After": "86400"})
    start = time.monotonic()
    connection(server).request("GET", TAGS, READ)
    assert 1.01 <= time.monotonic() - start < 5
    assert "the registry asks us to wait 1 s" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["soon", "-1", "9" * 5000, "Mon, 99 Foo 2999 99:99:99 GMT", "0"])
def test_a_wait_that_makes_no_sense_is_passed_over(server, monkeypatch, text):
    monkeypatch.setattr(registryhttp, "LONGEST_WAIT", 0.01)
    server.fault("GET", TAGS, status=429, headers={"Retry-After": text})
    connection(server).request("GET", TAGS, READ)
    assert len(server.asked) == 2


@given(st.text(max_size=30) | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")))
def test_any_wait_is_a_number_between_nothing_and_the_longest(text):
    assert 0 <= registryhttp.asked_wait(text) <= registryhttp.LONGEST_WAIT


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_an_error_that_never_ends_does(server, status):
    server.fault("GET", TAGS, times=ALWAYS, status=status, body=ENDLESS)
    start = time.monotonic()
    with pytest.raises((RegistryError, DeniedError)):
        connection(server).request("GET", TAGS, READ)
    assert time.monotonic() - start < 5


def test_an_answer_that_never_ends_does(server, monkeypatch):
    monkeypatch.setattr(registryhttp, "JSON_LIMIT", 1 << 20)
    server.fault("GET", TAGS, status=200, body=ENDLESS)
    with pytest.raises(RegistryError, match="answers more than 1048576 bytes"):
        connection(server).request("GET", TAGS, READ)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"[]", b'{"errors": []}', b'{"errors": {"a": 1}}', b'{"errors": [5]}', b"[" * 9000],
)
def test_an_error_in_whatever_words(server, body):
    server.fault("GET", TAGS, status=400, body=body)
    with pytest.raises(RegistryError) as caught:
        connection(server).request("GET", TAGS, READ)
    assert caught.value.why == f"GET {TAGS}: HTTP 400"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"[" * 100_000, b"{" + b'"a":{' * 50_000])
def test_what_is_no_document_is_said(server, body):
    http = connection(server)
    server.fault("GET", TAGS, status=200, body=body)
    with pytest.raises(RegistryError, match="no JSON object"):
        http.document(http.request("GET", TAGS, READ))


def test_an_answer_that_is_cut_is_a_network_that_fails(server):
    server.fault("GET", TAGS, cut=5)
    with pytest.raises(NetworkError, match="hung up"):
        connection(server).request("GET", TAGS, READ)


def test_connections_are_used_again(server, monkeypatch):
    made = []
    accept = server.process_request
    monkeypatch.setattr(server, "process_request", lambda *what: made.append(1) or accept(*what))
    http = connection(server)
    for _ in range(5):
        http.request("GET", TAGS, READ)
        http.request("HEAD", TAGS, READ)
        http.request("GET", f"/v2/{NAME}/manifests/none", READ, ok=(404,))
        http.request("POST", UPLOADS, WRITE, ok=(202,))
    assert len(made) <= 2  # one to ask whether it speaks TLS


def test_nobody_there(server, monkeypatch):
    with registryserver.serve() as gone:
        pass
    with pytest.raises(NetworkError, match="cannot be reached") as caught:
        connection(gone).request("GET", f"{TAGS}?secret=1", READ)
    assert "refused" in caught.value.why
    assert "secret" not in caught.value.why


# ways there


def test_ipv6():
    with registryserver.serve("::1") as server:
        assert server.place.startswith("[::1]:")
        http = known(server)
        http.request("GET", TAGS, READ)
        assert len(server.login.given) == 1


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_no_proxy_is_asked_for_this_machine(server, other, monkeypatch, name):
    monkeypatch.setenv(name, other.url)
    connection(server).request("GET", TAGS, READ)
    assert other.asked == []
    assert len(server.asked) == 1


def test_a_proxy_is_asked_for_others(other, monkeypatch):
    monkeypatch.setenv("https_proxy", other.url)
    heard = []
    monkeypatch.setattr(
        registryserver.Handler, "do_CONNECT", lambda handler: heard.append(handler.path) or handler.send_error(403),
        raising=False,
    )  # fmt: skip
    with pytest.raises(NetworkError):
        Connection("registry.example", None).request("GET", TAGS, READ)
    assert set(heard) == {"registry.example:443"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.programs("openssl")
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_of_an_authority_that_is_named_is_trusted(server, certificate, monkeypatch, name):
    server.secure(*certificate)
    monkeypatch.setenv(name, str(certificate[0]))
    known(server).request("GET", TAGS, READ)
    assert server.login.given


@pytest.mark.programs("openssl")
@pytest.mark.parametrize("file", ["", "/nowhere/ca.pem"])
def test_any_other_is_refused_before_anything_is_said(server, certificate, monkeypatch, file):
    server.secure(*certificate)
    if file:
        monkeypatch.setenv("SSL_CERT_FILE", file)
    with pytest.raises(NetworkError, match="cannot be reached") as caught:
        known(server).request("GET", TAGS, READ)
    assert "certificate" in caught.value.why.lower()
    assert server.asked == []


@pytest.mark.programs("openssl")
def test_a_registry_with_tls_does_not_send_us_where_there_is_none(server, other, certificate, monkeypatch):
    server.secure(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    server.fault("GET", TAGS, status=307, headers={"Location": f"{other.url}/x"})
    with pytest.raises(RegistryError, match="without TLS"):
        connection(server).request("GET", TAGS, READ)
    assert other.asked == []
