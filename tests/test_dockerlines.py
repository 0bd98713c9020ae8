"""What a Dockerfile takes in: all that no lock names is found, in whatever form it is written."""

import pytest

from build import dockerlines

GOOD = """\
# Rendered
FROM --platform=$BUILDPLATFORM scratch AS builder
ADD builder.tar /
FROM --platform=linux/arm64 scratch AS rootfs
FROM --platform=linux/arm64 rootfs AS runtime
RUN --network=none --mount=type=bind,from=builder,target=/mnt/builder \\
    --mount=type=bind,from=layer-other,target=/mnt/wheels ["x"]
USER 1000:1000
"""


def faults(old="", new=""):
    assert old in GOOD
    return list(dockerlines.faults(GOOD.replace(old, new, 1), ["other"]))


def test_a_good_dockerfile_has_no_faults():
    assert faults() == []


@pytest.mark.parametrize(
    "line",
    [
        "FROM debian:trixie as base", "from debian:trixie", "FROM  alpine", "FROM --platform=linux/arm64 alpine ",
        "FROM alpine AS x y", "FROM", "FROM debian@sha256:00 AS base",
        "COPY --link --from=alpine:3 / /", "COPY --chown=1:1 --from=alpine / /", "copy --from=busybox /bin/sh /bin/sh",
        "RUN --network=none --mount=type=bind,from=python:3.13,target=/x true", "RUN true", "RUN --network=host true",
        "RUN --network=none \\\n  --mount=from=alpine,target=/x true", "RUN --network=none <<E\ntrue\nE",
        "ADD https://example.invalid/x.tar /", "ADD git@example.invalid:x.git /", "ONBUILD RUN true", 'SHELL ["x"]',
        "# syntax=docker/dockerfile:1", "#Syntax = x", "ARG WHO", "ARG A=1 WHEN B=2",
    ],
)  # fmt: skip
def test_what_no_lock_names_is_found(line):
    assert faults("USER 1000:1000", line) != []


def test_a_layer_that_nothing_installs_is_named():
    assert faults("from=layer-other,", "from=builder,") == ["no step of the Dockerfile installs the layer 'other'"]


def test_an_address_in_a_label_takes_nothing_in():
    assert faults("USER 1000:1000", 'LABEL source="https://example.invalid/x"') == []


def test_an_argument_with_its_value_takes_nothing_in():
    assert faults("USER 1000:1000", 'ARG TZ="UTC" UMASK="022"') == []
