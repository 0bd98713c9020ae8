"""build/buildspecs.py: what buildx is told of where an image and a cache go, from what a user wrote."""

import pytest

from build import buildspecs
from build.errors import UsageError

NOTES = {"org.opencontainers.image.version": "0.32.0", "x": "a, c"}


def told(spec):
    return buildspecs.fields("", spec)


def test_an_image_goes_anywhere_as_it_goes_into_our_own_engine():
    spec = told(buildspecs.output('type=oci,"dest=a,b.tar"', NOTES))
    assert spec == {
        "type": "oci", "dest": "a,b.tar", "oci-mediatypes": "true", "compression": "zstd", "compression-level": "3",
        "force-compression": "true", "annotation.org.opencontainers.image.version": "0.32.0", "annotation.x": "a, c",
    }  # fmt: skip


@pytest.mark.parametrize("more", ["compression=gzip", "compression-level=19", "force-compression=false"])
def test_who_says_how_to_compress_is_not_corrected(more):
    spec = buildspecs.output(f"type=registry,name=h:1/x,{more}", {})
    assert spec == f"type=registry,name=h:1/x,{more},oci-mediatypes=true"


def test_what_a_user_wrote_wins():
    spec = "type=image,name=x,oci-mediatypes=false,annotation.x=mine"
    assert told(buildspecs.output(spec, NOTES))["annotation.x"] == "mine"
    assert buildspecs.output(spec, NOTES).startswith(f"{spec},compression=zstd")
    assert "oci-mediatypes=true" not in buildspecs.output(spec, NOTES)


@pytest.mark.parametrize(
    "spec", ["type=local,dest=x", "type=cacheonly", "type=tar,dest=x", "type=docker,dest=x", "out", "-"]
)
def test_what_is_no_image_of_ours_is_left_alone(spec):
    assert buildspecs.output(spec, NOTES) == spec


@pytest.mark.parametrize(
    ("spec", "file"),
    [("type=oci,dest=a.tar", "a.tar"), ("type=oci,tar=false,dest=/a/b", "/a/b"), ("type=oci", None), ("a.tar", None),
     ("type=oci,dest=-", None), ("type=docker,dest=a.tar", None), ("type=registry,name=x", None)],
)  # fmt: skip
def test_a_layout_is_known_by_its_file(spec, file):
    found = buildspecs.layout(spec)
    assert (found and str(found)) == file


@pytest.mark.parametrize("spec", ['type=oci,"dest=a', "type=oci\ndest=a"])
def test_a_spec_that_is_no_line_of_csv_is_a_mistake(spec):
    with pytest.raises(UsageError, match="--output is not one line"):
        buildspecs.fields("--output", spec)


@pytest.mark.parametrize(
    ("word", "reference"),
    [("ghcr.io/o/n", "ghcr.io/o/n:cache-tiny"), ("127.0.0.1:5000/n:x.1", "127.0.0.1:5000/n:x.1"),
     ("localhost/a/b__c", "localhost/a/b__c:cache-tiny"), ("[::1]:5000/n", "[::1]:5000/n:cache-tiny"),
     ("farm:5000/n", "farm:5000/n:cache-tiny")],
)  # fmt: skip
def test_a_place_in_a_registry_is_enough(word, reference):
    assert buildspecs.cache_from(word, "tiny") == f"type=registry,ref={reference}"
    assert told(buildspecs.cache_to(word, "tiny")) == {
        "type": "registry", "ref": reference, "mode": "max", "oci-mediatypes": "true", "image-manifest": "true",
        "compression": "zstd", "compression-level": "3", "force-compression": "true",
    }  # fmt: skip


def test_a_whole_spec_stays_as_it_is():
    for spec in ("type=registry,ref=team/cache,mode=min", "type=local,dest=/x", "type=gha,scope=a"):
        assert buildspecs.cache_to(spec, "tiny") == buildspecs.cache_from(spec, "tiny") == spec


@pytest.mark.parametrize(
    "word", ["team/cache", "ghcr.io", "ghcr.io/Owner/n", "ghcr.io/o/n@sha256:0", "https://h.io/n", "", "h.io/n:é"]
)
def test_what_names_no_place_is_a_mistake(word):
    for option, read in (("--cache-to", buildspecs.cache_to), ("--cache-from", buildspecs.cache_from)):
        with pytest.raises(UsageError, match=f"{option}: .*is not HOST/NAME"):
            read(word, "tiny")


@pytest.mark.parametrize(
    "word",
    ["me:s3cret@ghcr.io/o/n", "type=registry,ref=me:s3cret@ghcr.io/o/n", "type=gha,token=s3cret",
     'type=s3,region=x,"secret_access_key=s3cret"', "type=s3,session_token=s3cret", "TYPE=gha,Token=s3cret"],
)  # fmt: skip
def test_a_secret_on_the_command_line_is_refused_and_not_said_again(word):
    with pytest.raises(UsageError) as caught:
        buildspecs.cache_to(word, "tiny")
    assert "s3cret" not in str(caught.value)


def test_the_registries_that_are_spoken_to():
    specs = [
        "type=registry,ref=127.0.0.1:5000/c:x,mode=max", 'type=image,"name=ghcr.io/o/a:1,ghcr.io/o/a:2",push=true',
        "type=registry,name=team/a", "type=oci,dest=a.tar", "", "a.tar", "type=local,src=x", "type=image",
    ]  # fmt: skip
    assert buildspecs.hosts(specs) == ("127.0.0.1:5000", "ghcr.io", "docker.io")
