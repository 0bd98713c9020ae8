"""What servers tell of themselves, and what they tell wrong."""

import pytest

from build import serverfacts
from build.asking import Server
from build.questions import Patience
from build.replies import Kind, Trouble
from build.serverfacts import Listed
from tests import openaikit


@pytest.fixture
def there():
    with openaikit.serve() as server:
        yield server


@pytest.fixture
def server(there):
    server = Server(f"{there.url}/v1", patience=Patience(seconds=5), model="demo")
    yield server
    server.close()


def test_a_vllm_tells_all(server):
    assert serverfacts.models(server) == (Listed(name="demo", context=16_384, root="/models/demo"),)
    assert serverfacts.version(server) == "0.32.0"
    assert serverfacts.tokens(server, [{"role": "user", "content": "one two three"}]) == 3


def test_another_server_tells_less(server, there):
    there.version = ""
    there.tokenize = False
    assert serverfacts.version(server) == ""
    assert serverfacts.tokens(server, [{"role": "user", "content": "x"}]) is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"data": [{"id": "a", "max_model_len": "many", "root": 3}, {"id": 5}, "x"]}, (Listed(name="a"),)),
        ({"data": [{"id": "a\x1b[2J", "max_model_len": -1}]}, (Listed(name="a�[2J"),)),
        ({"data": []}, ()),
    ],
)
def test_lists_are_read_with_care(server, there, body, found):
    there.fault(address="/models", status=200, body=body)
    assert serverfacts.models(server) == found


@pytest.mark.parametrize("body", [{"data": None}, {"data": "x"}, {"models": []}, ["x"], "text", 5])
def test_what_is_no_list_of_models(server, there, body):
    there.fault(address="/models", status=200, body=body)
    trouble = serverfacts.models(server)
    assert isinstance(trouble, Trouble)
    assert trouble.kind is Kind.MALFORMED


@pytest.mark.parametrize(("fault", "kind"), [({"html": True}, Kind.MALFORMED), ({"status": 404}, Kind.UNKNOWN), ({"status": 401}, Kind.DENIED),
                                             ({"status": 502}, Kind.FAILED)])  # fmt: skip
def test_each_trouble_names_itself(server, there, fault, kind):
    there.fault(address="/models", **fault)
    assert serverfacts.models(server).kind is kind


@pytest.mark.parametrize("body", [{"version": 5}, ["x"], "v", {"version": "1" * 500}])
def test_a_strange_version(server, there, body):
    there.fault(address="/version", status=200, body=body)
    assert len(serverfacts.version(server)) in (0, 100)


def test_a_server_that_says_nothing(server, there):
    server.patience = Patience(seconds=0.2)
    there.fault(address="/models", silent="all")
    there.fault(address="/version", silent="all")
    assert serverfacts.models(server).kind is Kind.SILENT
    assert serverfacts.version(server) == ""
