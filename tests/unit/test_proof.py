"""Whether a new build has what it was made for, and how a reason is told."""

from __future__ import annotations

import re
from html import unescape

import pytest
from support.planning import change, rpm

from rebuilder.cli.formatting import format_reason
from rebuilder.domain.image import ImageBuild, Manifest
from rebuilder.domain.impact import Reason
from rebuilder.domain.rpm import INSTALLONLY
from rebuilder.engine.results import not_updated
from rebuilder.web.pages.rendering import TEMPLATES

KERNELS = "kernel-core-6.8.1-1.fc42.x86_64 < kernel", "kernel-core-6.8.2-1.fc42.x86_64 < kernel"
PERL = "perl-Carp-1.54-500.fc42.noarch < perl-5.38.2-500.fc42.src.rpm"


def proof(rpms: tuple[str, ...], nvr: str, installonly: tuple[str, ...] = INSTALLONLY) -> str:
    build = ImageBuild("a:f42", "1", Manifest.of(map(rpm, rpms)))
    return not_updated(build, [Reason("rpm", change(nvr), rpms[0].partition(" < ")[0])], installonly)


def test_an_old_kernel_beside_the_new_one_is_no_failure() -> None:
    assert proof(KERNELS, "kernel-6.8.2-1.fc42") == ""
    assert "kernel-core-6.8.1-1.fc42.x86_64 is still installed" in proof(KERNELS, "kernel-6.8.2-1.fc42", installonly=())
    assert "kernel-core-6.8.2-1.fc42.x86_64 is still installed" in proof(KERNELS, "kernel-6.8.3-1.fc42")


def test_what_stayed_is_told_with_the_source_build_that_was_compared() -> None:
    assert proof((PERL,), "perl-5.40.0-1.fc42") == (
        "not-updated: perl-Carp-1.54-500.fc42.noarch of perl-5.38.2-500.fc42 is still installed; "
        "perl-5.40.0-1.fc42 is available"
    )


def test_a_reason_compares_like_with_like() -> None:
    carp, built_from = "perl-Carp-1.54-500.fc42.noarch", "perl-5.38.2-500.fc42"
    reason = Reason("rpm", change("perl-5.40.0-1.fc42"), carp, compared=built_from)
    expected = "perl-Carp-1.54-500.fc42.noarch (its own, of perl-5.38.2-500.fc42) < 5.40.0-1.fc42"
    assert format_reason(reason).plain == expected


@pytest.mark.parametrize(
    "reason",
    [
        Reason("parent", change("a&b-1-1.fc42"), inherited_from="base:f42"),
        Reason("rpm", change("a-2-1.fc42"), "a-1-1.fc42.noarch", "base:f42", "registry.example.com/fedora:42"),
        Reason("rpm", change("a-2-1.fc42"), "b-1-1.fc42.noarch", compared="a-1-1.fc42", upgrades="dnf upgrade"),
    ],
)
def test_a_page_tells_a_reason_as_the_terminal_does(reason: Reason) -> None:
    template = '{% from "parts.html" import reason with context %}{{ reason(found) }}'
    shown = TEMPLATES.env.from_string(template).render(found=reason)
    said = unescape(re.sub("<[^>]*>", "", shown))
    assert said.strip().replace(" is older than ", " < ") == format_reason(reason).plain
