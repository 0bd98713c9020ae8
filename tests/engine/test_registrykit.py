"""The kit of registries itself: what it offers, as others' clients (skopeo, oras, cosign, requests) meet it."""

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time

import pytest
import requests
import zstandard

from build.settings import REPO
from tests.engine import registrykit as kit

USERS = {"me": "a secret", "reader": "another"}
MANIFEST = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
LOOK = "application/vnd.example.look"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    with kit.registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A registry with users, passwords and TLS."""
    with kit.registry(tmp_path_factory.mktemp("closed"), htpasswd=USERS, tls=True) as found:
        yield found


@pytest.fixture(scope="module")
def tokened(tmp_path_factory):
    """A registry with a token server."""
    with kit.registry(tmp_path_factory.mktemp("tokened"), htpasswd=USERS, token=True) as found:
        found.tokens.rights["reader"] = ("pull",)
        yield found


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return kit.layout(tmp_path_factory.mktemp("image") / "layout", [b"a", 3_000_000], labels={"a": "b"})


@pytest.fixture
def proxy(real):
    with kit.faults(real) as found:
        yield found


def push(layout, place, *arguments, name="name:tag", **more):
    target = f"docker://{place}/{name}"
    return kit.skopeo("copy", *arguments, "--dest-tls-verify=false", layout.oci, target, **more)


def pull(folder, place, *arguments, name="name:tag", **more):
    source = f"docker://{place}/{name}"
    return kit.skopeo("copy", *arguments, "--src-tls-verify=false", source, f"dir:{folder}", **more)


def upload(place, data, *, session=requests, name="raw", headers=None):
    """Push a blob by hand; the answers to POST, PATCH and PUT, fewer where one went wrong."""
    answers = [session.post(f"http://{place}/v2/{name}/blobs/uploads/", headers=headers)]
    if answers[-1].ok:
        answers.append(session.patch(answers[-1].headers["Location"], data=data, headers=headers))
    if answers[-1].ok and len(answers) == 2:
        place, query = answers[-1].headers["Location"], {"digest": sha(data)}
        answers.append(session.put(place, params=query, headers=headers))
    return answers


def sha(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# -- the registry


def test_an_image_goes_in_and_comes_out(real, image, tmp_path):
    push(image, real.place, name="first/one:tag")
    assert real.tags("first/one") == {"tag": image.digest}
    assert real.manifests("first/one") == {image.digest}
    assert real.blobs("first/one") == {row["digest"] for row in [image.manifest["config"], *image.layers]}
    assert real.uploads("first/one") == []
    pull(tmp_path / "out", real.place, name=f"first/one@{image.digest}")
    assert sha((tmp_path / "out/manifest.json").read_bytes()) == image.digest
    for layer in image.layers:
        assert sha(real.blob(layer["digest"]).read_bytes()) == layer["digest"]
    real.blob(image.layers[1]["digest"]).write_bytes(b"spoiled")
    assert pull(tmp_path / "spoiled", real.place, name="first/one:tag", check=False).returncode != 0
    real.blob(image.layers[1]["digest"]).write_bytes(image.blob(image.layers[1]["digest"]).read_bytes())


def test_it_ends_with_the_block_even_where_that_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), kit.registry(tmp_path) as found:
        os.kill(found.pid, 0)
        raise ZeroDivisionError
    with pytest.raises(ProcessLookupError):
        os.kill(found.pid, 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(found.url)


def test_passwords_and_tls(closed, image, tmp_path):
    verified = f"docker://{closed.place}/name:tag"
    untrusted = kit.skopeo("copy", image.oci, verified, "--dest-creds", "me:a secret", check=False)
    assert "certificate" in untrusted.stderr
    for login in ("me:wrong", "nobody:a secret"):
        refused = kit.skopeo("copy", image.oci, verified, "--dest-creds", login, ca=closed.ca, check=False)
        assert "authentication required" in refused.stderr
    assert kit.skopeo("copy", image.oci, verified, ca=closed.ca, check=False).returncode != 0
    assert closed.tags("name") == {}
    kit.skopeo("copy", image.oci, verified, "--dest-creds", "me:a secret", ca=closed.ca)
    assert closed.tags("name") == {"tag": image.digest}
    kit.oras(
        "login", closed.place, "-u", "me", "--password-stdin", "--ca-file", closed.ca, stdin="a secret", home=tmp_path
    )
    fetched = kit.oras("manifest", "fetch", f"{closed.place}/name:tag", "--ca-file", closed.ca, home=tmp_path)
    assert json.loads(fetched.stdout) == image.manifest
    assert requests.get(f"{closed.url}/v2/", verify=closed.ca, auth=("reader", "another")).status_code == 200


def test_the_proxy_speaks_tls_too(closed, image):
    with kit.faults(closed) as proxy:
        target = f"docker://{proxy.place}/through:tag"
        fault = proxy.cut_upload(1_000_000)
        copy = ("copy", image.oci, target, "--dest-creds", "me:a secret")
        assert kit.skopeo(*copy, ca=proxy.ca, check=False).returncode == fault.struck == 1
        kit.skopeo(*copy, ca=proxy.ca)
        assert closed.tags("through") == {"tag": image.digest}


def test_it_ends_with_the_tests_even_where_they_are_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from tests.engine import registrykit\n"
        "with registrykit.registry(Path(sys.argv[1])) as real:\n print(real.pid, flush=True)\n time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True)
    with child:
        pid = int(child.stdout.readline())
        os.kill(pid, 0)
        child.kill()
    end = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.01)


# -- the token server


def test_tokens_by_password(tokened, image, tmp_path):
    tokens = tokened.tokens
    wrong = push(image, tokened.place, "--dest-creds", "me:wrong", check=False)
    assert "incorrect username or password" in wrong.stderr
    assert tokens.refused > 0
    assert push(image, tokened.place, check=False).returncode == 1
    assert push(image, tokened.place, "--dest-creds", "reader:another", check=False).returncode == 1
    assert tokened.tags("name") == {}
    push(image, tokened.place, "--dest-creds", "me:a secret")
    assert tokened.tags("name") == {"tag": image.digest}
    assert tokens.asked[-1] == ("me", ("repository:name:pull,push",), ("pull", "push"))
    pull(tmp_path / "out", tokened.place, "--src-creds", "reader:another")
    assert pull(tmp_path / "no", tokened.place, check=False).returncode == 1
    oras = ("manifest", "fetch", f"{tokened.place}/name:tag", "--plain-http", "-u", "me", "-p", "a secret")
    assert json.loads(kit.oras(*oras).stdout) == image.manifest


def test_the_token_server_fails(tokened, image):
    tokened.tokens.fault = 503
    assert "503" in push(image, tokened.place, "--dest-creds", "me:a secret", check=False).stderr
    tokened.tokens.fault = 0


def test_a_token_expires(tokened):
    tokens = tokened.tokens

    def ask(token):
        return requests.get(f"{tokened.url}/v2/name/tags/list", headers={"Authorization": f"Bearer {token}"})

    asked = {"service": "the registry", "scope": "repository:name:pull"}
    told = requests.get(tokens.url, params=asked, auth=("me", "a secret")).json()
    assert told["expires_in"] == 300
    assert ask(told["token"]).status_code in (200, 404)  # whether that repository is there is not asked here
    tokens.lifetime = 2
    short = requests.get(tokens.url, params=asked, auth=("me", "a secret")).json()["token"]
    assert ask(short).status_code in (200, 404)
    end = time.monotonic() + 10
    while ask(short).status_code != 401:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert 'error="invalid_token"' in ask(short).headers["WWW-Authenticate"]
    tokens.lifetime, tokens.tells = -10, 300
    assert ask(requests.get(tokens.url, params=asked, auth=("me", "a secret")).json()["token"]).status_code == 401
    tokens.lifetime, tokens.tells = 300, None


def test_a_login_that_is_forgotten_on_the_way(tokened):
    with kit.faults(tokened) as proxy:
        token = tokened.tokens.token("me", ("repository:raw:pull,push",))
        proxy.forget_login(methods=("PATCH",))
        headers = {"Authorization": f"Bearer {token}"}
        answers = upload(proxy.place, b"data" * 100_000, headers=headers)
        assert [answer.status_code for answer in answers] == [202, 401]
        assert answers[-1].headers["WWW-Authenticate"].startswith(f'Bearer realm="{tokened.tokens.url}"')
        assert [answer.status_code for answer in upload(proxy.place, b"data", headers=headers)] == [202, 202, 201]


# -- the proxy


@pytest.mark.parametrize("relative", [False, True])
def test_all_bytes_go_through_and_are_counted(real, proxy, image, tmp_path, relative):
    proxy.relative = relative
    name = f"counted/{relative}".lower()
    place = requests.post(f"{proxy.url}/v2/{name}/blobs/uploads/").headers["Location"]
    assert place.startswith("/v2/" if relative else f"{proxy.url}/v2/")
    proxy.clear()
    push(image, proxy.place, name=f"{name}:tag")
    assert real.tags(name) == {"tag": image.digest}
    assert proxy.uploaded == image.bytes
    assert proxy.traffic()["PATCH", "upload"] == (3, image.bytes - image.size, 0)
    assert proxy.traffic()["POST", "upload"].requests == 3
    (manifest,) = proxy.asked("PUT", "manifest")
    assert (manifest.status, manifest.received, manifest.name, manifest.reference) == (201, image.size, name, "tag")
    assert all(item.status < 300 for item in proxy.asked("PUT"))
    proxy.clear()
    push(image, proxy.place, name=f"{name}:again")
    assert proxy.uploaded == image.size, "what is there is not sent again"
    proxy.clear()
    pull(tmp_path / "out", proxy.place, name=f"{name}:again")
    assert proxy.downloaded == image.bytes + sum(item.sent for item in proxy.asked(kind="ping"))


def test_chunked_bodies(real, proxy):
    pieces = [os.urandom(70_000) for _ in range(20)]
    place = requests.post(f"{proxy.url}/v2/chunked/blobs/uploads/").headers["Location"]
    assert place.startswith(f"{proxy.url}/v2/chunked/")
    answer = requests.patch(place, data=iter(pieces))
    assert answer.headers["Range"] == "0-1399999"
    data = b"".join(pieces)
    assert requests.put(answer.headers["Location"], params={"digest": sha(data)}).status_code == 201
    assert proxy.uploaded == len(data)
    with requests.get(f"{proxy.url}/v2/chunked/blobs/{sha(data)}", headers={"Range": "bytes=5-14"}) as part:
        assert (part.status_code, part.content) == (206, data[5:15])


def test_large_bodies_are_not_held(real, proxy, tmp_path):
    image = kit.big(tmp_path / "big", 100_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    push(image, proxy.place, name="large:tag")
    pull(tmp_path / "out", proxy.place, name="large:tag")
    assert proxy.uploaded == image.bytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # kB


def test_a_cut_in_an_upload(real, proxy, image):
    fault = proxy.cut_upload(1_000_000, times=None)
    failed = push(image, proxy.place, name="cut:tag", check=False)
    assert failed.returncode == 1
    assert fault.struck == 1
    assert (real.tags("cut"), real.uploads("cut")) == ({}, [1_000_000])
    assert real.blobs("cut") == {image.layers[0]["digest"]}, "what is shorter passes"
    assert proxy.uploaded == image.layers[0]["size"] + 1_000_000
    fault.off()
    proxy.cut_upload(1_000_000, times=2)
    assert [push(image, proxy.place, name="cut:tag", check=False).returncode for _ in range(3)] == [1, 1, 0]
    assert real.tags("cut") == {"tag": image.digest}


def test_cuts_that_are_counted_over_all(real, proxy):
    data = os.urandom(400_000)
    place = requests.post(f"{proxy.url}/v2/total/blobs/uploads/").headers["Location"]
    fault = proxy.cut_upload(1_000_000, total=True, times=None)
    for _ in range(2):
        place = requests.patch(place, data=data).headers["Location"]
    with pytest.raises(requests.ConnectionError):
        requests.patch(place, data=data)
    assert (fault.struck, real.uploads("total")) == (1, [1_000_000])


@pytest.mark.parametrize("resumes", [False, True])
def test_an_upload_goes_on_after_a_cut_where_the_registry_can(real, resumes):
    data = os.urandom(900_000)
    with kit.faults(real, resumes=resumes) as proxy:
        place = requests.post(f"{proxy.url}/v2/on-{resumes}/blobs/uploads/".lower()).headers["Location"]
        proxy.cut_upload(500_001)
        with pytest.raises(requests.ConnectionError):
            requests.patch(place, data=data)
        told = requests.get(place)
        if not resumes:
            assert told.status_code == 404
            return
        assert (told.status_code, told.headers["Range"]) == (204, "0-500000")
        rest = requests.patch(told.headers["Location"], data=data[500_001:], headers={"Content-Range": "500001-899999"})
        assert requests.put(rest.headers["Location"], params={"digest": sha(data)}).status_code == 201
        assert proxy.uploaded == len(data)


def test_a_cut_in_a_download(real, proxy, image):
    push(image, real.place)
    layer = image.layers[1]
    url = f"{proxy.url}/v2/name/blobs/{layer['digest']}"
    for reset in (False, True):
        proxy.cut_download(1_000_000, reset=reset)
        got = 0
        with (
            pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)),
            requests.get(url, stream=True) as answer,
        ):
            for piece in answer.iter_content(10_000):
                got += len(piece)
        assert got <= 1_000_000
        assert proxy.requests[-1].sent == 1_000_000
    assert len(requests.get(url).content) == layer["size"]


def test_skopeo_fetches_the_rest_after_a_cut(real, proxy, image, tmp_path):
    push(image, real.place)
    fault = proxy.cut_download(2_000_000)
    pull(tmp_path / "out", proxy.place)
    assert fault.struck == 1
    assert [item.headers.get("Range") for item in proxy.asked("GET", "blob", 206)] == ["bytes=2000000-"]


def test_slow(proxy, real):
    data = os.urandom(100_000)
    fault = proxy.slow(300_000)
    began = time.monotonic()
    upload(proxy.place, data, name="slow")
    there = time.monotonic()
    assert requests.get(f"{proxy.url}/v2/slow/blobs/{sha(data)}").content == data
    back = time.monotonic()
    assert there - began > 0.3
    assert back - there > 0.3
    fault.off()
    requests.get(f"{proxy.url}/v2/slow/blobs/{sha(data)}")
    assert fault.struck == 4, "POST, PATCH, PUT and GET"


def test_a_spoiled_layer(real, proxy, image, tmp_path):
    push(image, real.place)
    layer = image.layers[1]["digest"]
    fault = proxy.corrupt(1_234_567, path=layer)
    got = requests.get(f"{proxy.url}/v2/name/blobs/{layer}").content
    there = image.blob(layer).read_bytes()
    assert [at for at, (one, other) in enumerate(zip(got, there, strict=True)) if one != other] == [1_234_567]
    assert "Digest did not match" in pull(tmp_path / "out", proxy.place, check=False).stderr
    fault.off()
    pull(tmp_path / "well", proxy.place)


def test_too_many_requests(real, proxy, image, tmp_path):
    fault = proxy.answer(429, times=2, skip=1, headers={"Retry-After": "1"}, path="/blobs/uploads/", methods=("POST",))
    data = [upload(proxy.place, b"x", name="many")[-1] for _ in range(4)]
    assert [answer.status_code for answer in data] == [201, 429, 429, 201]
    assert (data[1].headers["Retry-After"], data[1].json()["errors"][0]["code"]) == ("1", "TOOMANYREQUESTS")
    assert fault.struck == len(proxy.asked(status=429)) == 2
    push(image, real.place)
    proxy.answer(429, times=1, headers={"Retry-After": "1"}, path="/manifests/")
    began = time.monotonic()
    pull(tmp_path / "out", proxy.place)
    assert time.monotonic() - began > 0.9, "skopeo waits as it is told"


def test_trouble_once_and_always(proxy, real, image):
    push(image, real.place)
    proxy.answer(503, times=2, path="/manifests/")
    kit.oras("manifest", "fetch", f"{proxy.place}/name:tag", "--plain-http")
    assert len(proxy.asked("GET", "manifest", 503)) + len(proxy.asked("HEAD", "manifest", 503)) == 2
    always = proxy.answer(500, times=None)
    assert {requests.get(f"{proxy.url}/v2/").status_code for _ in range(5)} == {500}
    assert always.struck == 5
    big = os.urandom(3_000_000)
    assert requests.put(f"{proxy.url}/v2/name/blobs/uploads/x", data=big).status_code == 500
    assert proxy.requests[-1].received == len(big)
    always.off()
    proxy.answer(413, times=1, early=True)
    assert requests.put(f"{proxy.url}/v2/name/blobs/uploads/x", data=big).status_code == 413
    assert proxy.requests[-1].received == 0


def test_other_manifests(proxy, real, image, tmp_path):
    push(image, real.place)
    url = f"{proxy.url}/v2/name/manifests/tag"
    other = sha(b"other")
    proxy.other_manifest(digest=other, times=2)
    assert requests.head(url, headers=MANIFEST).headers["Docker-Content-Digest"] == other
    told = requests.get(url, headers=MANIFEST)
    assert (told.headers["Docker-Content-Digest"], sha(told.content)) == (other, image.digest)
    assert requests.get(url, headers=MANIFEST).headers["Docker-Content-Digest"] == image.digest
    body = json.dumps({**image.manifest, "annotations": {"not": "ours"}}).encode()
    fault = proxy.other_manifest(body=body)
    told = requests.get(url, headers=MANIFEST)
    assert (told.headers["Docker-Content-Digest"], told.content) == (image.digest, body)
    refused = pull(tmp_path / "out", proxy.place, name=f"name@{image.digest}", check=False)
    assert "does not match" in refused.stderr
    fault.off()
    proxy.other_manifest(digest=other, methods=("PUT",))
    pushed = requests.put(url, data=json.dumps(image.manifest), headers={"Content-Type": MANIFEST["Accept"]})
    assert (pushed.status_code, pushed.headers["Docker-Content-Digest"]) == (201, other)


def test_an_account_that_may_only_read(proxy, real, image, tmp_path):
    push(image, real.place)
    proxy.deny_push()
    assert "denied" in push(image, proxy.place, name="denied:tag", check=False).stderr
    assert real.tags("denied") == {}
    pull(tmp_path / "out", proxy.place)


def test_no_answer(proxy):
    proxy.hang()
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{proxy.url}/v2/", timeout=0.2)
    assert requests.get(f"{proxy.url}/v2/", timeout=5).status_code == 200


# -- referrers


def attached(place, api, folder, image, *, looks=1):
    """Push an image, and attach to it what oras attaches; oras' list of it."""
    name = f"looked-{api}-{looks}"
    push(image, place, name=f"{name}:tag")
    (folder / "look.txt").write_text("looks good")
    subject = f"{place}/{name}@{image.digest}"
    said = ("--plain-http", "--distribution-spec", f"v1.1-referrers-{api}")
    for number in range(looks):
        note = ("--annotation", f"number={number}")
        kit.oras("attach", "--artifact-type", LOOK, subject, "look.txt", *note, *said, cwd=folder)
    kit.oras("attach", "--artifact-type", "application/vnd.example.other", subject, "look.txt", *said, cwd=folder)
    return name, json.loads(kit.oras("discover", subject, *said, "--format", "json").stdout)["manifests"]


def test_referrers_by_the_api(real, image, tmp_path):
    with kit.faults(real, referrers=True) as proxy:
        name, found = attached(proxy.place, "api", tmp_path, image)
        assert [row["artifactType"] for row in found] == [LOOK, "application/vnd.example.other"]
        assert set(real.tags(name)) == {"tag"}, "no fallback tag"
        assert {row["digest"] for row in found} | {image.digest} == real.manifests(name)
        url = f"{proxy.url}/v2/{name}/referrers/{image.digest}"
        told = requests.get(url, params={"artifactType": LOOK})
        assert told.headers["OCI-Filters-Applied"] == "artifactType"
        assert told.headers["Content-Type"] == told.json()["mediaType"] == "application/vnd.oci.image.index.v1+json"
        (row,) = told.json()["manifests"]
        assert (row["artifactType"], row["annotations"]["number"]) == (LOOK, "0")
        assert [row] == real.referrers(name, image.digest)[:1]
        assert row["size"] == real.blob(row["digest"]).stat().st_size
        nothing = requests.get(f"{proxy.url}/v2/{name}/referrers/{sha(b'nothing')}")
        assert (nothing.status_code, nothing.json()["manifests"]) == (200, [])
        assert requests.delete(f"{proxy.url}/v2/{name}/manifests/{row['digest']}").status_code == 202
        assert len(requests.get(url).json()["manifests"]) == 1


def test_a_push_says_that_it_knew_the_subject(real, image):
    push(image, real.place)
    manifest = {**image.manifest, "artifactType": LOOK, "subject": {"digest": image.digest, "size": image.size}}
    manifest["subject"]["mediaType"] = manifest["mediaType"]
    data = json.dumps(manifest).encode()
    for api in (True, False):
        with kit.faults(real, referrers=api) as proxy:
            url = f"{proxy.url}/v2/name/manifests/{sha(data)}"
            told = requests.put(url, data=data, headers={"Content-Type": manifest["mediaType"]})
            assert told.status_code == 201
            assert told.headers.get("OCI-Subject") == (image.digest if api else None)


def test_referrers_in_pages(real, image, tmp_path):
    with kit.faults(real, referrers=True) as proxy:
        proxy.page = 2
        _, found = attached(proxy.place, "api", tmp_path, image, looks=4)
        assert len(found) == 5
        assert len([item for item in proxy.asked("GET", "referrers") if "from" in item.query]) == 2


def test_referrers_only_for_who_may_read(tokened, image):
    with kit.faults(tokened, referrers=True) as proxy:
        url = f"{proxy.url}/v2/name/referrers/{image.digest}"
        refused = requests.get(url)
        assert (refused.status_code, refused.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
        token = tokened.tokens.token("reader", ("repository:name:pull",))
        assert requests.get(url, headers={"Authorization": f"Bearer {token}"}).json()["manifests"] == []


def test_without_the_api_there_is_the_fallback_tag(real, image, tmp_path):
    with kit.faults(real) as proxy:
        name, found = attached(proxy.place, "tag", tmp_path, image)
        assert len(found) == 2
        assert set(real.tags(name)) == {"tag", image.digest.replace(":", "-")}
        assert requests.get(f"{proxy.url}/v2/{name}/referrers/{image.digest}").status_code == 404


# -- cosign


def test_cosign_signs_and_verifies(real, image, tmp_path):
    push(image, real.place, name="signed:tag")
    kit.cosign("generate-key-pair", cwd=tmp_path)
    subject = f"{real.place}/signed@{image.digest}"
    kit.cosign("sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", subject, cwd=tmp_path)
    verify = ("verify", "--key", "cosign.pub", "--insecure-ignore-tlog", subject)
    assert image.digest in kit.cosign(*verify, cwd=tmp_path).stdout
    assert f"{image.digest.replace(':', '-')}.sig" in real.tags("signed")


# -- images


@pytest.mark.parametrize(("packed", "size"), [("zstd", 40_000_000), ("gzip", 4_000_000), ("", 4_000_000)])
def test_an_image(packed, size, tmp_path):
    made = kit.layout(
        tmp_path / "a", [b"one", {"x/y": b"two", "z": b""}, size], packed=packed, labels={"l": "1"}, annotations={"n": "2"}
    )  # fmt: skip
    seen = json.loads(kit.skopeo("inspect", made.oci).stdout)
    assert (seen["Digest"], seen["Architecture"], seen["Os"], seen["Labels"]) == (
        made.digest,
        "arm64",
        "linux",
        {"l": "1"},
    )
    assert seen["Layers"] == [layer["digest"] for layer in made.layers]
    assert made.manifest["annotations"] == {"n": "2"}
    kit.skopeo("copy", "--dest-decompress", made.oci, f"dir:{tmp_path / 'plain'}")  # compares each digest, and diff id
    for diff_id in made.diff_ids:
        assert sha((tmp_path / "plain" / diff_id.removeprefix("sha256:")).read_bytes()) == diff_id
    assert 0.98 < made.layers[2]["size"] / size < 1.01
    again = kit.layout(
        tmp_path / "b", [b"one", {"x/y": b"two", "z": b""}, size], packed=packed, labels={"l": "1"}, annotations={"n": "2"}
    )  # fmt: skip
    assert again.digest == made.digest
    other = kit.layout(tmp_path / "c", [b"one", 1000], packed=packed, seed=1)
    assert other.layers[0] == made.layers[0]
    assert other.layers[1] != kit.layout(tmp_path / "d", [b"one", 1000], packed=packed).layers[1]


def test_its_layers_are_tars(tmp_path):
    made = kit.layout(tmp_path / "image", [35_000_001])
    blob = made.blob(made.layers[0]["digest"]).read_bytes()
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert [(info.name, info.size) for info in archive] == [("layer-0", 35_000_001)]
    assert len(plain) % tarfile.BLOCKSIZE == 0
    assert len(zstandard.ZstdCompressor(level=3).compress(plain)) > 0.9 * len(plain), "nor with more effort"
