"""Which URLs are a registry's own, and which registries are on this machine."""

import pytest

from build import registryplaces
from tests import registryserver


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.8.8.8:1", True), ("[::1]", True), ("[::1]:5000", True), ("LocalHost:5000", True),
        ("127.0.0.1.example:80", False), ("localhost.example", False), ("10.0.0.1", False), ("[fe80::1]:5000", False),
        ("", False), ("[", False), ("0.0.0.0:5000", False),
    ],
)  # fmt: skip
def test_what_is_on_this_machine(host, here):
    assert registryplaces.is_loopback(host) is here


OURS = "https://r.example"


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://r.example/v2/", True), ("https://R.EXAMPLE:443", True), ("https://r.example?x", True),
        ("http://r.example/", False), ("https://r.example:444/", False), ("https://r.example.evil.example/", False),
        ("https://r.example@evil.example/", False), ("https://r.example:443@evil.example/", False),
        ("https://evil.example\\@r.example/", False), ("https://evil.example#@r.example/", False),
        ("https://evil.example?@r.example/", False), ("https:r.example", False), ("//r.example/", False),
        (" https://r.example", False), ("", False), ("https://[r.example/", False), ("https://r.example:99999/", False),
    ],
)  # fmt: skip
def test_the_same_place_by_whatever_way_it_is_written(url, same):
    assert (registryplaces.origin(url) == registryplaces.origin(OURS)) is same


def test_what_an_origin_says_is_where_requests_goes():
    import requests

    session = requests.Session()
    for url in (
        "https://evil.example\\@r.example/",
        "https://r.example@evil.example/",
        "https://a.example#@r.example/",
    ):
        made = session.prepare_request(requests.Request("GET", url))
        assert registryplaces.origin(made.url) == registryplaces.origin(url)


def test_a_location_leads_somewhere_or_nowhere():
    assert registryplaces.joined("https://r.example/v2/a?b", "/v2/c?d=1") == "https://r.example/v2/c?d=1"
    assert registryplaces.joined("https://r.example/v2/a", "https://o.example/x") == "https://o.example/x"
    assert registryplaces.joined("https://r.example/v2/a", "http://[x/") == ""


def test_a_registry_here_is_spoken_to_as_it_speaks():
    with registryserver.serve() as server:
        assert registryplaces.base_url(server.place) == f"http://{server.place}"
    assert registryplaces.base_url(server.place) == f"http://{server.place}"  # gone: the request will say so
    assert registryplaces.base_url("registry.example") == "https://registry.example"
