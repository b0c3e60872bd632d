"""Containerfiles as people write them: each recipe in each of the ways in which files are written.

A recipe says which parents it has, or what is wrong with it; how the file is written changes nothing of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

Parents = tuple[tuple[str, str], ...]


class Recipe(Struct, frozen=True):
    """`parents` are names with their kinds; `fault` is what is told in place of them, after the line's number."""

    name: str
    text: str
    parents: Parents = ()
    fault: str = ""


def base(*specs: str) -> Parents:
    """The parents of a file: the stages' in their order, and at last the base."""
    *stages, last = specs
    return (*((spec, "stage") for spec in stages), (last, "base"))


RECIPES = (
    Recipe("one-line", "FROM registry.example.com/fedora:42\n", base("registry.example.com/fedora:42")),
    Recipe("dnf", """\
FROM registry.example.com/fedora-minimal:42
LABEL name="httpd" \\
      version="2.4"
RUN microdnf install -y httpd \\
 && microdnf clean all \\
 && rm -rf /var/cache
EXPOSE 80/tcp 443/tcp
STOPSIGNAL SIGWINCH
CMD ["httpd", "-DFOREGROUND"]
""", base("registry.example.com/fedora-minimal:42")),
    Recipe("go", """\
# syntax=docker/dockerfile:1
FROM golang:1.22 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN CGO_ENABLED=0 go build -o /out/app \\
    -ldflags "-s -w" ./cmd/app
FROM scratch
COPY --from=build /out/app /app
ENTRYPOINT ["/app"]
""", (("golang:1.22", "stage"),)),
    Recipe("cross", """\
ARG GO=1.22
FROM --platform=$BUILDPLATFORM golang:${GO}-alpine AS build
ARG TARGETOS TARGETARCH
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .
FROM --platform=$TARGETPLATFORM gcr.io/distroless/static:nonroot
COPY --from=build /app /
USER 65532:65532
""", base("golang:1.22-alpine", "gcr.io/distroless/static:nonroot")),
    Recipe("args-before-from", """\
ARG REGISTRY=redhat.example.com
ARG IMAGE=ubi9/ubi-minimal
ARG TAG=9.4
ARG BASE=${REGISTRY}/${IMAGE}:${TAG}
FROM ${BASE}
ARG TAG
RUN echo "$TAG" > /etc/base \\
    && true
""", base("redhat.example.com/ubi9/ubi-minimal:9.4")),
    Recipe("python-wheels", """\
FROM python:3.12-slim AS wheels
COPY requirements.txt .
RUN pip wheel --wheel-dir /wheels \\
    -r requirements.txt
FROM python:3.12-slim
COPY --from=wheels /wheels /wheels
RUN pip install --no-index --find-links=/wheels app && rm -rf /wheels
ENV PYTHONUNBUFFERED=1 PATH=/opt/app/bin:$PATH
HEALTHCHECK --interval=30s CMD ["app", "--check"]
""", base("python:3.12-slim")),
    Recipe("node-three-stages", """\
FROM node:20 AS deps
WORKDIR /app
COPY package*.json ./
RUN npm ci
FROM deps AS build
COPY . .
RUN npm run build
FROM nginxinc/nginx-unprivileged:1.27
COPY --from=build --chown=101:101 /app/dist /usr/share/nginx/html
""", base("node:20", "nginxinc/nginx-unprivileged:1.27")),
    Recipe("development-stage", """\
FROM php:8.3-fpm AS base
RUN docker-php-ext-install pdo_mysql
FROM base AS development
COPY --from=composer:2 /usr/bin/composer /usr/bin/composer
FROM base AS production
COPY . /srv
""", base("php:8.3-fpm")),
    Recipe("copies-from-images", """\
FROM ubuntu:24.04
COPY --from=ghcr.example.com/astral-sh/uv:0.4 /uv /uvx /bin/
COPY --from=docker.io/library/busybox:1.36-musl \\
     /bin/busybox \\
     /bin/busybox
COPY --chmod=755 entrypoint.sh /
ENTRYPOINT /entrypoint.sh
""", (("ubuntu:24.04", "base"), ("ghcr.example.com/astral-sh/uv:0.4", "stage"),
      ("docker.io/library/busybox:1.36-musl", "stage"))),
    Recipe("mounts", """\
FROM rust:1.80 AS chef
RUN cargo install cargo-chef
FROM fedora:42
RUN --mount=type=bind,from=chef,source=/usr/local/cargo/bin,target=/cargo \\
    --mount=type=cache,target=/var/cache/dnf \\
    --mount=type=secret,id=token \\
    dnf -y install make
RUN --mount=from=quay.example.com/example/tools:7,target=/tools,readonly /tools/setup
""", (("rust:1.80", "stage"), ("fedora:42", "base"), ("quay.example.com/example/tools:7", "stage"))),
    Recipe("numbered-stages", """\
FROM maven:3.9-eclipse-temurin-21
COPY . /src
RUN mvn -f /src/pom.xml package
FROM eclipse-temurin:21-jre
COPY --from=0 /src/target/app.jar /app.jar
""", base("maven:3.9-eclipse-temurin-21", "eclipse-temurin:21-jre")),
    Recipe("by-digest", f"""\
FROM quay.example.com/centos/centos:stream9@sha256:{'0a' * 32}
MAINTAINER Somebody <somebody@example.com>
VOLUME ["/data"]
""", base(f"quay.example.com/centos/centos:stream9@sha256:{'0a' * 32}")),
    Recipe("onbuild", """\
FROM node:20
ONBUILD COPY --from=assets:1 /a /a
ONBUILD RUN npm install \\
    --omit=dev
ONBUILD ARG WHERE=$NOT_HERE
""", base("node:20")),
    Recipe("heredoc", """\
FROM fedora:42 AS tools
RUN <<EOF
dnf -y install gcc
cat > /x <<X
FROM not:this
X
EOF
FROM fedora:42
COPY <<"CONF" /etc/app.conf
FROM = $nothing
CONF
COPY --from=tools /x /x
""", base("fedora:42")),
    Recipe("port-and-default", """\
ARG MIRROR
ARG VERSION=42
FROM ${MIRROR:-registry.example.com:5000}/fedora:${VERSION:-41}${VARIANT:+-$VARIANT}
RUN true
""", base("registry.example.com:5000/fedora:42")),
    Recipe("cut-and-replaced", """\
ARG TAG=v1.2.3-rc1
ARG NAME=my_app
FROM registry.example.com/${NAME//_/-}:${TAG#v} AS whole
FROM registry.example.com/base:${TAG%%-*}
COPY --from=whole / /whole
""", base("registry.example.com/my-app:1.2.3-rc1", "registry.example.com/base:v1.2.3")),
    Recipe("stage-chosen-by-argument", """\
ARG FLAVOR=full
FROM alpine:3.20 AS flavor-slim
FROM debian:12 AS flavor-full
FROM flavor-${FLAVOR}
CMD ["sh"]
""", base("debian:12")),
    Recipe("unset-in-the-unused", """\
FROM ${TEST_IMAGE} AS test
COPY --from=$NOWHERE /x /x
FROM fedora:42 AS app
ARG GOPATH=$HOME/go
ENV LD_LIBRARY_PATH=/opt/lib:$LD_LIBRARY_PATH
""", base("fedora:42")),
    Recipe("alias-of-its-image", """\
FROM builder AS builder
RUN make
FROM runtime AS runtime
COPY --from=builder /out /
""", base("builder", "runtime")),
    Recipe("powershell", """\
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command"]
RUN Write-Host 'FROM nowhere' ; \\
    Get-Item .
""", base("mcr.microsoft.com/windows/servercore:ltsc2022")),
    Recipe("template", """\
FROM %%BASE%%
ENV VERSION %%VERSION%%
RUN set -eux; \\
    echo "%%VERSION%%"
""", base("%%BASE%%")),
    Recipe("transports", """\
FROM containers-storage:localhost/tools AS tools
FROM docker://registry.example.com/base:1
COPY --from=tools /t /t
COPY --from=oci-archive:/srv/extra.tar /e /e
""", (("containers-storage:localhost/tools", "stage"), ("docker://registry.example.com/base:1", "base"),
      ("oci-archive:/srv/extra.tar", "stage"))),
    Recipe("nothing-but-args", "ARG A=1\n", fault="there is no FROM"),
    Recipe("no-instruction", "FROM fedora:42\nINSTALL httpd\n", fault="unknown instruction"),
    Recipe("jinja", "FROM {{ base.image }}:{{ tag }}\nRUN true\n", fault="FROM needs an image"),
    Recipe("no-value", "ARG BASE\nFROM ${BASE}\n", fault="BASE has no value"),
    Recipe("must-be-set", "FROM fedora:${TAG:?which-one}\n", fault="which-one"),
    Recipe("empty-from", "FROM fedora:42\nARG X=\nCOPY --from=$X / /\n", fault=r"from=\$X: it names no image"),
)  # fmt: skip


def lower(text: str) -> str:
    """Instructions in lower case, but nothing else."""
    return re.sub(r"^[A-Z]+(?= )", lambda word: word[0].lower(), text, flags=re.MULTILINE).replace(" AS ", " as ")


def commented(text: str) -> str:
    """Comments in the continuations of instructions, and at the end."""
    if "<<" in text:  # what stands in a heredoc is no comment
        return f"{text}# FROM nothing:1\n"
    return text.replace("\\\n", "\\\n# why: FROM nothing:1 \\\n   # and why\n") + "# the end\n"


def spaced(text: str) -> str:
    """Blank lines between instructions, and blanks at their ends."""
    return text if "<<" in text else re.sub(r"(?<!\\)\n", "  \n\n\n", text)


def indented(text: str) -> str:
    return text if "<<" in text else re.sub("^(?!# syntax)", "\t ", text, flags=re.MULTILINE)


def other_escape(text: str) -> str:
    """With the escape character of Windows."""
    directive = "# escape=`\n"
    written = text.replace("\\\n", "`\n")
    return written.replace("\n", f"\n{directive}", 1) if written.startswith("# syntax") else directive + written


WAYS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "bom": lambda text: text.encode("utf-8-sig"),
    "lower": lambda text: lower(text).encode(),
    "commented": lambda text: commented(text).encode(),
    "spaced": lambda text: spaced(text).encode(),
    "indented": lambda text: indented(text).encode(),
    "escape": lambda text: other_escape(text).encode(),
    "latin-1": lambda text: text.encode() + "# gebaut für alle\n".encode("latin-1"),
    "no-end": lambda text: text.rstrip("\n").encode(),
}


class Written(Struct, frozen=True):
    """A file of the corpus."""

    name: str
    content: bytes
    recipe: Recipe


def files() -> Iterator[Written]:
    """All of them, each once."""
    seen = set()
    for recipe in RECIPES:
        for way, write in WAYS.items():
            content = write(recipe.text)
            if content not in seen:
                seen.add(content)
                yield Written(f"{recipe.name}-{way}", content, recipe)
