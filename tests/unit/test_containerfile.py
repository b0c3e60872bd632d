"""What a Containerfile is built on."""

from __future__ import annotations

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.inventory import platforms
from rebuilder.inventory.containerfile import parents, read
from rebuilder.inventory.containerfile_stages import Options


def named(text: str, **build_args: str) -> list[tuple[str, str]]:
    return [(base.spec, str(base.kind)) for base in parents(text, Options(build_args))]


def test_the_base_is_the_final_stage_s_from() -> None:
    assert named("FROM a AS x\nFROM b\nCOPY --from=x / /\n") == [("a", "stage"), ("b", "base")]


def test_the_base_is_found_through_aliases_in_any_case() -> None:
    assert named("FROM base AS Builder\nFROM builder AS two\nFROM two\n") == [("base", "base")]


def test_an_alias_of_the_same_name_as_the_image_is_no_cycle() -> None:
    assert named("FROM base AS base\nFROM base\n") == [("base", "base")]


def test_a_numeric_stage_is_no_image() -> None:
    assert named("FROM a\nFROM b\nCOPY --from=0 / /\n") == [("a", "stage"), ("b", "base")]


def test_copy_and_mount_name_images_too() -> None:
    text = "FROM a\nCOPY --from=tools:1 / /\nRUN --mount=type=bind,from=cache,target=/c true\n"
    assert named(text) == [("a", "base"), ("tools:1", "stage"), ("cache", "stage")]


def test_an_image_that_is_base_and_copied_from_is_base_once() -> None:
    assert named("FROM a\nCOPY --from=a / /\n") == [("a", "base")]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("ARG V=42\nFROM f:$V", "f:42"),
        ("ARG V=42\nFROM f:${V}", "f:42"),
        ("FROM f:${V:-42}", "f:42"),
        ("FROM f:${V-42}", "f:42"),
        ("ARG V=1\nFROM f${V:+:x}", "f:x"),
        ("FROM f${V:+:x}", "f"),
        ("ARG A=4\nARG B=${A}2\nFROM f:$B", "f:42"),
        ("FROM f:${A:-${B:-42}}", "f:42"),
        ('ARG V="42"\nFROM f:$V', "f:42"),
        ("ARG V=42\nFROM f:${V:?which}", "f:42"),
        ("ARG V=42-minimal\nFROM f:${V%-*}", "f:42"),
        ("ARG V=a-b-c\nFROM f:${V%-*}", "f:a-b"),
        ("ARG V=a-b-c\nFROM f:${V%%-*}", "f:a"),
        ("ARG V=a-b-c\nFROM f:${V#*-}", "f:b-c"),
        ("ARG V=a-b-c\nFROM f:${V##*-}", "f:c"),
        ("ARG V=a-b-c\nFROM f:${V#x}", "f:a-b-c"),
        ("ARG V=a_b_c\nFROM f:${V/_/-}", "f:a-b_c"),
        ("ARG V=a_b_c\nFROM f:${V//_/-}", "f:a-b-c"),
        ("ARG V=1\nFROM f:${W:+$U}${V}", "f:1"),
        ("ARG V=1\nFROM f:${V:-$U}", "f:1"),
        ("ARG V=1\nFROM \"f:$V\"", "f:1"),
        ("ARG V='$W'\nARG W=2\nFROM f:${W}", "f:2"),
        ("# escape=`\nARG V=1\nFROM `\n  f:$V", "f:1"),
        ("FROM --platform=linux/amd64 f:42", "f:42"),
        ("FROM registry.example.com:5000/f@sha256:abc", "registry.example.com:5000/f@sha256:abc"),
    ],
)
def test_arguments_are_filled_in(text: str, spec: str) -> None:
    assert named(text + "\n") == [(spec, "base")]


def test_a_build_argument_wins_over_the_default() -> None:
    assert named("ARG V=41\nFROM f:$V\n", V="42") == [("f:42", "base")]


def test_a_build_argument_that_the_file_does_not_declare_is_not_known() -> None:
    with pytest.raises(RequestError, match=r"^1: .*V has no value"):
        named("FROM f:$V\n", V="42")


@pytest.mark.parametrize("spec", ["f:${V@x}", "f:${-x}", "f:${V", "f:${V:-x", 'f:"$V', "f:'x", "f:${V/a}"])
def test_what_is_no_substitution_is_never_taken_for_an_image(spec: str) -> None:
    with pytest.raises(RequestError, match=r"^2: .*(unsupported|is missing)"):
        named(f"ARG V=1\nFROM {spec}\n")


def test_arguments_end_with_their_stage() -> None:
    with pytest.raises(RequestError, match=r"^4: .*W has no value"):
        named("FROM a AS one\nARG W=t\nFROM one\nCOPY --from=$W / /\n")


def test_the_names_that_later_stages_use_for_earlier_ones_are_told() -> None:
    assert read("FROM base AS Base\nFROM other AS unused\nFROM base\nCOPY --from=BASE / /\n").hidden == {"base"}
    assert read("FROM base AS base\n").hidden == frozenset()


def test_an_argument_of_before_the_first_from_is_known_in_a_stage_only_where_it_is_named_again() -> None:
    assert named("ARG V=1\nFROM a\nARG V\nCOPY --from=t:$V / /\n") == [("a", "base"), ("t:1", "stage")]
    with pytest.raises(RequestError, match="V has no value"):
        named("ARG V=1\nFROM a\nCOPY --from=t:$V / /\n")


def test_a_from_in_a_heredoc_is_text() -> None:
    assert named("FROM a\nRUN <<EOF\nFROM b\nEOF\nCOPY <<X /y\nFROM c\nX\n") == [("a", "base")]


def test_scratch_is_no_parent() -> None:
    assert named("FROM scratch\nCOPY x /\n") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("RUN true\n", 1), ("FROM a\nRUN <<EOF\nx\n", 1), ("FROM a\nBOGUS x\n", 2), ("FROM a b\n", 1),
     ("FROM a\nFROM $NOTHING\n", 2)],
)
def test_what_does_not_parse_is_one_line_that_names_the_line(text: str, line: int) -> None:
    with pytest.raises(RequestError, match=rf"^{line}: ") as error:
        parents(text)
    assert "\n" not in str(error.value)


def test_an_argument_without_a_value_is_empty_and_matters_only_where_it_is_used() -> None:
    assert named("FROM a\nARG GOPATH=$HOME/go\nENV P=$PYTHON_VERSION\nARG Q\n") == [("a", "base")]
    assert named("ARG EMPTY=$NOWHERE\nFROM f${EMPTY}:42\n") == [("f:42", "base")]


@pytest.mark.parametrize(("text", "told"), [
    ("FROM a AS one\nFROM $NOWHERE\n", "2: .*NOWHERE has no value"),
    ("FROM a\nCOPY --from= / /\n", "2: from=: it names no image"),
    ("FROM a\nARG W=$NOWHERE\nRUN --mount=type=bind,from=$W,target=/x true\n", "3: from=.W: it names no image"),
])  # fmt: skip
def test_a_name_that_is_left_empty_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(RequestError, match=f"^{told}"):
        named(text)


def test_what_the_last_stage_does_not_need_is_no_parent_whatever_it_says() -> None:
    text = """
FROM localhost/not-here AS unused
COPY --from=$NOWHERE / /
FROM tools AS needed
FROM $NOWHERE AS unused-too
FROM base
COPY --from=needed /bin /bin
RUN --mount=type=bind,from=cache,target=/c true
"""
    assert named(text) == [("tools", "stage"), ("base", "base"), ("cache", "stage")]


def test_a_stage_that_is_needed_through_others_is_needed() -> None:
    text = "FROM a AS one\nFROM b AS two\nCOPY --from=one / /\nFROM two AS three\nFROM c\nCOPY --from=2 / /\n"
    assert named(text) == [("a", "stage"), ("b", "stage"), ("c", "base")]


def test_the_platform_arguments_have_their_values() -> None:
    arch = platforms.ARCH
    text = (
        "FROM --platform=$BUILDPLATFORM go:$TARGETARCH AS x\nFROM b-$TARGETOS\n"
        "ARG TARGETARCH\nCOPY --from=t:$TARGETARCH / /\n"
    )
    assert named(text) == [("b-linux", "base"), (f"t:{arch}", "stage")]
    assert named("FROM b-$TARGETARCH\n", TARGETARCH="riscv64") == [("b-riscv64", "base")]


def test_an_argument_that_must_have_a_value_is_told_with_its_own_words() -> None:
    with pytest.raises(RequestError, match=r"^1: f:\$\{V:\?which-one\}: which-one"):
        named('FROM f:${V:?which-one}\n')


def test_the_platform_of_the_build_sets_the_platform_arguments() -> None:
    text = "FROM --platform=$BUILDPLATFORM go:$BUILDARCH AS x\nFROM b:$TARGETARCH$TARGETVARIANT\nCOPY --from=x / /\n"
    found = [base.spec for base in parents(text, Options(platform="linux/arm/v7"))]
    assert found == [f"go:{platforms.ARCH}", "b:armv7"]


def test_the_target_is_where_the_build_stops() -> None:
    text = "FROM a AS one\nFROM b AS Two\nCOPY --from=one / /\nFROM c\n"
    for target, found in (("one", [("a", "base")]), ("two", [("a", "stage"), ("b", "base")]), ("0", [("a", "base")])):
        assert [(base.spec, str(base.kind)) for base in parents(text, Options(target=target))] == found
    with pytest.raises(RequestError, match="there is no stage three to stop at; there are: one, two"):
        parents(text, Options(target="three"))


def test_an_alias_may_be_named_by_an_argument() -> None:
    assert named("ARG V=one\nFROM a AS one\nFROM $V\nARG V\nCOPY --from=${V} / /\n") == [("a", "base")]


def test_what_env_sets_is_known_to_later_arguments_alone() -> None:
    text = "FROM a\nENV V=1\nENV V=2 W=$V\nARG X=$V$W\nCOPY --from=t:$X / /\n"
    assert named(text) == [("a", "base"), ("t:21", "stage")]
    with pytest.raises(RequestError, match=r"^3: t:.V: V has no value"):
        named("FROM a\nENV V=1\nCOPY --from=t:$V / /\n")


@pytest.mark.parametrize("line", [
    "COPY --from / /", "RUN --mount=type=bind,from=,target=/x true", "RUN --mount=from true",
])  # fmt: skip
def test_a_missing_from_is_told_with_its_line(line: str) -> None:
    with pytest.raises(RequestError, match=r"^2: from=: it names no image"):
        named(f"FROM a\n{line}\n")


def test_bytes_that_are_no_utf_8_matter_only_in_an_image_s_name() -> None:
    assert named("FROM a\n# caf\ufffd\nLABEL x=\ufffd\n") == [("a", "base")]
    with pytest.raises(RequestError, match=r"^1: an image's name that is not UTF-8"):
        named("FROM caf\ufffd\n")


def test_a_number_in_a_from_is_a_stage_without_a_name_and_in_a_copy_any_stage() -> None:
    assert named("FROM a\nFROM b\nFROM 0\n") == [("a", "base")]
    assert named("FROM a AS one\nFROM 0\n") == [("0", "base")]
    assert named("FROM a AS one\nFROM b\nCOPY --from=0 / /\n") == [("a", "stage"), ("b", "base")]


DOUBLED = "".join(f"ARG B{at}=${{B{at - 1}}}${{B{at - 1}}}\n" for at in range(1, 40))
ENDLESS = {
    "doubled again and again": f"ARG B0=aaaaaaaaaa\n{DOUBLED}FROM $B39\n",
    "nested without an end": "FROM " + "${A+" * 40 + "\n",
    "nested very deeply": "FROM " + "${A:-" * 20_000 + "x" + "}" * 20_000 + "\n",
    "a pattern that is tried in each way": f"ARG A={'a' * 200}\nFROM ${{A//{'*a' * 30}*b/}}\n",
    "a name that no index takes": f"FROM {'a' * 501}\n",
    "a long value that is tried at each place": f"ARG A={'a' * 9000}\nFROM ${{A%%*b*}}\n",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_word_that_would_take_for_ever_is_refused_with_its_line(what: str) -> None:
    with pytest.raises(RequestError, match=r"\d+: "):
        read(ENDLESS[what])


def test_what_people_write_is_neither_too_long_nor_too_deep() -> None:
    text = "ARG TAG=v1.2-rc1\nARG REST=\nFROM r.example.org/x:${REST:-${OTHER:-${TAG%%-*}}}\n"
    assert [base.spec for base in parents(text)] == ["r.example.org/x:v1.2"]


def test_a_long_line_of_what_might_upgrade_is_read() -> None:
    assert not read("FROM a\nRUN " + "dnf dnf \\\n" * 20_000 + "true\n").upgrades
