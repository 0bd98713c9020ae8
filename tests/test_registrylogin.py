"""The challenge of a registry, read as RFC 9110 has it, and whatever else comes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import registrylogin
from build.registrylogin import Access

READ = Access(name="a/b", write=False)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://t/token",service="r",scope="repository:a:pull,push"',
         {"bearer": {"realm": "https://t/token", "service": "r", "scope": "repository:a:pull,push"}}),
        ("bearer realm=https://t/token, service=r", {"bearer": {"realm": "https://t/token", "service": "r"}}),
        ('Basic realm="a b", Bearer realm="https://t"', {"basic": {"realm": "a b"}, "bearer": {"realm": "https://t"}}),
        ('Bearer REALM = "q\\"uote"', {"bearer": {"realm": 'q"uote'}}),
        ("Negotiate, Basic", {"negotiate": {}, "basic": {}}),
        ("Basic", {"basic": {}}),
        ("", {}),
    ],
)  # fmt: skip
def test_challenges(header, found):
    assert registrylogin.challenges(header) == found


@given(st.text(alphabet='aB =",\\\t-realm', max_size=60))
def test_any_header_is_read(header):
    for scheme, told in registrylogin.challenges(header).items():
        assert scheme == scheme.lower()
        assert all(isinstance(value, str) for value in told.values())


def test_a_long_header_costs_no_time():
    start = time.monotonic()
    for text in (" " * 60_000, 'a="' * 20_000, "a=" * 30_000, '"' * 60_000, "a\\" * 30_000):
        registrylogin.challenges(text)
    assert time.monotonic() - start < 10  # it was 40 s for an expression that begins with what may be many


def test_each_scope_is_asked_for():
    url = registrylogin.token_query("https://t/token?x=1", "r s", Access(name="a", write=True, beside="b"))
    assert url == "https://t/token?x=1&service=r+s&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull"
    assert registrylogin.token_query("https://t/token", "r", READ).startswith("https://t/token?service=r&")
    form = registrylogin.token_form("r", Access(name="a", write=True, beside="b"), "refresh-me")
    assert form["scope"] == "repository:a:pull,push repository:b:pull"
    assert form["refresh_token"] == "refresh-me"


@pytest.mark.parametrize(
    ("data", "token"),
    [
        (b'{"token": "t"}', "t"), (b'{"access_token": "t"}', "t"), (b'{"token": "", "access_token": "t"}', "t"),
        (b'{"token": 5}', ""), (b'["t"]', ""), (b"{}", ""), (b"<html>", ""), (b"", ""), (b"\xff", ""),
        (b'{"token": "a\\r\\nX-Evil: 1"}', ""), (b'{"token": "a b"}', ""), (b'{"token": "\\u20ac"}', ""),
        (b"[" * 100_000, ""),
    ],
)  # fmt: skip
def test_only_what_a_header_may_hold_is_a_token(data, token):
    assert registrylogin.token_of(data) == token
