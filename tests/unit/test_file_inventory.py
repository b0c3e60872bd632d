"""The inventory document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Inventory, Parent, ParentKind, Source, Stream
from rebuilder.domain.rpm import Rpm
from rebuilder.inventory import document_writer, loader, schema

EXAMPLE = """\
version: 1
streams: {f42: {dist: .fc42}}
images:
  - name: base
    stream: f42
    parents: [{external: "registry.example.com/fedora:42"}]
    source: {git: "https://example.com/base.git", ref: f42, commit: abc123}
    rpms:
      - bash-5.2.37-1.fc42.x86_64
      - {nevra: "openssl-libs-1:3.2.1-1.fc42.x86_64", source: openssl}
    duration: 240
  - name: tools
    stream: f42
    source: {path: images/tools}
    pull_spec: localhost/tools
  - name: httpd
    stream: f42
    parents: [base, {image: "tools:f42", kind: stage}]
    rpms: []
  - name: plain
"""


def read(folder: Path, text: str, name: str = "inventory.yaml") -> Inventory:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return loader.read(path).inventory


def error(folder: Path, text: str, name: str = "inventory.yaml") -> str:
    with pytest.raises(RequestError) as raised:
        read(folder, text, name)
    told = str(raised.value)
    assert told.startswith(f"{folder / name}:")
    assert "\n" not in told
    assert "\0" not in told
    return told.removeprefix(f"{folder / name}:")


def test_the_example_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, EXAMPLE)
    assert found.streams == (Stream("f42", (".fc42",)),)
    base, tools, httpd, plain = found.images
    assert base.parents == (Parent(ParentKind.BASE, external="registry.example.com/fedora:42"),)
    assert base.source == Source(git="https://example.com/base.git", ref="f42", commit="abc123")
    assert base.estimate == 240
    assert (tools.source.path, tools.pull_spec) == ("images/tools", "localhost/tools")
    assert httpd.parents == (Parent(ParentKind.BASE, "base:f42"), Parent(ParentKind.STAGE, "tools:f42"))
    assert plain.key == "plain:default"
    built = {build.image: build.manifest.rpms for build in found.builds if build.manifest is not None}
    assert built == {
        "base:f42": {
            Rpm("bash", 0, "5.2.37", "1.fc42", "x86_64", "bash"),
            Rpm("openssl-libs", 1, "3.2.1", "1.fc42", "x86_64", "openssl"),
        },
        "httpd:f42": frozenset(),
    }, "an image without `rpms` is unknown, one with an empty list is empty"


def test_json_says_the_same(tmp_path: Path) -> None:
    import yaml

    text = json.dumps(yaml.safe_load(EXAMPLE))
    for name in ("inventory.json", "inventory.yaml"):
        assert read(tmp_path, text, name) == read(tmp_path, EXAMPLE)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = read(tmp_path, EXAMPLE)
    builds = {build.image: build for build in found.builds}
    written = document_writer.written(found, builds.get)
    again = read(tmp_path, json.dumps(written), "again.json")
    assert again == found
    assert document_writer.written(again, {build.image: build for build in again.builds}.get) == written


def test_a_source_rpm_s_version_survives_writing(tmp_path: Path) -> None:
    text = "version: 1\nimages: [{name: a, rpms: [{nevra: p-libs-1-1.noarch, source: p-2-3.src.rpm}]}]\n"
    found = read(tmp_path, text)
    (build,) = found.builds
    again = read(tmp_path, json.dumps(document_writer.written(found, {"a:default": build}.get)), "again.json")
    assert again.builds == found.builds


def test_the_build_s_name_follows_its_content(tmp_path: Path) -> None:
    def ident(rpm: str) -> str:
        return read(tmp_path, f"version: 1\nimages: [{{name: a, rpms: [{rpm}]}}]\n").builds[0].ident

    assert ident("bash-1-1.noarch") == ident("bash-1-1.noarch")
    assert ident("bash-1-1.noarch") != ident("bash-1-2.noarch")
    assert ident("{nevra: bash-1-1.noarch, source: a}") != ident("{nevra: bash-1-1.noarch, source: b}")


def test_an_empty_document_of_the_right_version_has_no_images(tmp_path: Path) -> None:
    assert read(tmp_path, "version: 1\n").images == ()


IMAGE = "version: 1\nimages:\n  - name: a\n"  # what a case below adds is in line 4

CASES = [
    ("images: []\n", "1: version: must be 1"),
    ("version: 2\n", "1: version: must be 1"),
    ("- version: 1\n", "1: the document: expected a mapping, got a list"),
    ("version: 1\ncolour: red\n", "2: colour: unknown key"),
    ("version: 1\nimages: {}\n", "2: images: expected a list or nothing, got a mapping"),
    ("version: 1\nimages:\n  - a\n", "3: images[0]: expected a mapping, got text"),
    ("version: 1\nimages:\n  - stream: a\n", "3: images[0]: object missing required field name"),
    ("version: 1\nimages:\n  - name: 7\n", "3: images[0].name: expected text, got a number"),
    ("version: 1\nstreams:\n  f42: {dits: .fc42}\n", "3: streams.f42.dits: unknown key"),
    ("version: 1\nstreams:\n  f42: .fc42\n", "3: streams.f42: expected a mapping, got text"),
    (IMAGE + "    colour: red\n", "4: images[0].colour: unknown key"),
    (IMAGE + "    duration: -1\n", "4: images[0].duration: must be seconds"),
    (IMAGE + "    duration: true\n", "4: images[0].duration: expected a number, got true or false"),
    (IMAGE + "    duration: .nan\n", "4: images[0].duration: must be seconds"),
    (IMAGE + "    source: {svn: x}\n", "4: images[0].source.svn: unknown key"),
    (IMAGE + "    source: {git: 1}\n", "4: images[0].source.git: expected text, got a number"),
    (IMAGE + "    parents: b\n", "4: images[0].parents: expected a list or nothing, got text"),
    (IMAGE + "    parents: [ghost]\n", "4: images[0].parents[0]: unknown parent ghost:default"),
    (IMAGE + "    parents: [{image: a, external: b}]\n", "4: images[0].parents[0]: a parent has image or external"),
    (IMAGE + "    parents: [{kind: base}]\n", "4: images[0].parents[0]: a parent has image or external"),
    (IMAGE + "    parents: [{external: b, kind: uncle}]\n", "4: images[0].parents[0].kind: must be base or stage"),
    (IMAGE + "    parents: [{external: b, kind: [base]}]\n", "4: images[0].parents[0].kind: expected text, got a list"),
    (IMAGE + "    parents: [{external: ''}]\n", "4: images[0].parents[0].external: must not be empty"),
    (IMAGE + "    rpms: bash\n", "4: images[0].rpms: expected a list or nothing, got text"),
    (IMAGE + "    rpms: [bash-5.2-1]\n", "4: images[0].rpms[0]: not a NEVRA"),
    (IMAGE + "    rpms: [7]\n", "4: images[0].rpms[0]: expected text or a mapping, got a number"),
    (IMAGE + "    rpms:\n      - {nevra: b-1-1.noarch, src: b}\n", "5: images[0].rpms[0].src: unknown key"),
    (IMAGE + "    rpms:\n      - {nevra: b-1-1.noarch, source: [b]}\n", "5: images[0].rpms[0].source: expected text"),
    (IMAGE + "    rpms:\n      - {nevra: [b], source: b}\n", "5: images[0].rpms[0].nevra: expected text, got a list"),
    (IMAGE + "  - name: a\n", "4: images[1]: image a:default is defined twice"),
    (IMAGE + "    name: b\n", "4: key 'name' is defined twice"),
    (IMAGE + "    7: b\n", "4: a key must be text"),
    (IMAGE + "   bad: [\n", "4:"),
    ("version: 1\nimages: &a\n  - *a\n", ""),
    (IMAGE + '    pull_spec: "a\\0b"\n', "4: images[0].pull_spec: must be text without control characters"),
    (IMAGE + '    rpms: ["ba\\0sh-1-1.noarch"]\n', "4: images[0].rpms[0]: not a NEVRA"),
    (IMAGE + '    rpms: [{nevra: bash-1-1.noarch, source: "\\n"}]\n', "4: images[0].rpms[0]: not a source package"),
    (IMAGE + f"    duration: {'9' * 5000}\n", ""),
    ("!!python/object:os.system {}\n", "1:"),
    (f"version: 1\nimages:\n  - name: {'a' * 256}\n", "3: images[0].name: must have at most 255 characters"),
    (IMAGE + f"    stream: {'s' * 256}\n", "4: images[0].stream: must have at most 255 characters"),
    (IMAGE + f"    build: {'b' * 256}\n", "4: images[0].build: must have at most 255 characters"),
    (IMAGE + f"    parents: [{{external: {'x' * 501}}}]\n", "4: images[0].parents[0].external: must have at most 500"),
    (IMAGE + f"    rpms: [{'b' * 256}-1-1.noarch]\n", "4: images[0].rpms[0]: not a NEVRA"),
    (IMAGE + f"    rpms: [{{nevra: b-1-1.noarch, source: {'b' * 256}}}]\n", "4: images[0].rpms[0]: not a source"),
    (IMAGE + f"    rpms: ['b-{2**32}:1-1.noarch']\n", "4: images[0].rpms[0]: not a NEVRA"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_wrong_input_is_named_with_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in error(tmp_path, text)


def test_wrong_json_is_named_with_its_line(tmp_path: Path) -> None:
    assert error(tmp_path, '{"version": 1,\n "images": [}', "inventory.json").startswith("2: not JSON")


def test_a_number_too_long_to_convert_is_refused(tmp_path: Path) -> None:
    error(tmp_path, f'{{"version": {"9" * 5000}}}', "inventory.json")


def test_half_a_character_in_json_is_refused(tmp_path: Path) -> None:
    text = '{"version": 1, "images": [{"name": "\\ud800"}]}'
    assert error(tmp_path, text, "inventory.json").startswith("1: ")


def test_wrong_values_in_json_have_lines_too(tmp_path: Path) -> None:
    text = '{"version": 1,\n "images": [\n  {"name": "a", "colour": "red"}]}'
    assert error(tmp_path, text, "inventory.json") == "3: images[0].colour: unknown key"


def test_a_cycle_is_named_in_full_with_the_file(tmp_path: Path) -> None:
    text = "version: 1\nimages:\n  - {name: a, parents: [b]}\n  - {name: b, parents: [a]}\n"
    assert error(tmp_path, text) == "3: images[0]: parent cycle: a:default -> b:default -> a:default"


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_deep_nesting_is_refused(tmp_path: Path, suffix: str) -> None:
    error(tmp_path, "[" * 200_000, f"deep.{suffix}")


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "bytes"):
        with pytest.raises(RequestError, match=str(path)):
            loader.read(path)


def test_any_json_value_is_read_or_refused(tmp_path: Path) -> None:
    odd: list[Any] = [None, 0, "", [], {}, [None], {"name": None}, True, 1e400, "x" * 1000, "\x00"]
    for key in ("version", "streams", "images"):
        for value in odd:
            odd_one = {"version": 1, "streams": {}, "images": [], key: value}
            try:
                read(tmp_path, json.dumps(odd_one), "odd.json")
            except RequestError as refused:
                assert str(tmp_path) in str(refused)
    for key in schema.ImageEntry.__struct_fields__:
        for value in odd:
            try:
                read(tmp_path, json.dumps({"version": 1, "images": [{"name": "a", key: value}]}), "odd.json")
            except RequestError as refused:
                assert str(tmp_path) in str(refused)


def test_aliases_cannot_make_a_small_document_huge(tmp_path: Path) -> None:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases make it larger" in error(tmp_path, "\n".join(lines))
    assert error(tmp_path, "version: 1\nimages: &a [{name: x, rpms: *a}]\n")


def test_aliases_that_save_repetition_are_read(tmp_path: Path) -> None:
    rpms = "[bash-5.2.37-1.fc42.x86_64]"
    found = read(tmp_path, f"version: 1\nimages: [{{name: a, rpms: &r {rpms}}}, {{name: b, rpms: *r}}]\n")
    assert len(found.builds) == 2


@pytest.mark.parametrize("field", ["source: {path: -x}", "source: {containerfile: -f}", "pull_spec: --authfile=x",
                                   "stream: -x", "parents: [{external: -x}]", "build: -x"])  # fmt: skip
def test_no_value_can_be_taken_for_an_option(tmp_path: Path, field: str) -> None:
    assert "must not begin with -" in error(tmp_path, f"version: 1\nimages: [{{name: a, {field}}}]\n")


@pytest.mark.parametrize("name", ["/etc/shadow", "../shadow", "a/../../shadow"])
def test_a_build_file_is_in_the_folder_of_its_source(tmp_path: Path, name: str) -> None:
    told = error(tmp_path, f"version: 1\nimages: [{{name: a, source: {{path: x, containerfile: {name}}}}}]\n")
    assert "in the folder of the source" in told


def test_the_keys_that_rpm_trusts_are_no_packages(tmp_path: Path) -> None:
    lines = ["bash-5.2.37-1.fc42.x86_64", "gpg-pubkey-105ef944-65ca83d1.(none)", "gpg-pubkey-105ef944-65ca83d1"]
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps({"version": 1, "images": [{"name": "base", "stream": "f42", "rpms": lines}]}))
    (build,) = loader.read(path).inventory.builds
    assert build.manifest is not None
    assert [rpm.nevra for rpm in build.manifest.rpms] == ["bash-5.2.37-1.fc42.x86_64"]


def test_a_document_tells_what_the_rpms_of_a_name_are_made_from(tmp_path: Path) -> None:
    path = tmp_path / "inventory.json"
    rpms = [{"nevra": "openssl-libs-1:3.2.1-1.fc42.x86_64", "source": "openssl-3.2.1-1.fc42.src.rpm"}]
    path.write_text(json.dumps({"version": 1, "images": [{"name": "base", "stream": "f42", "rpms": rpms}]}))
    found = loader.read(path)
    assert found.sources_of("openssl-libs") == {"openssl"}
    assert found.sources_of("openssl") == {"openssl"}
    assert found.sources_of("bash") == set()


def test_a_date_is_text_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(
        "version: 1\nimages:\n- {name: a, rpms: [], built: 2026-11-01T09:00:00Z, source: {git: g, ref: 2026-11-01}}\n"
    )
    found = loader.read(path).inventory
    assert (found.images[0].source.ref, found.builds[0].built) == ("2026-11-01", 1793523600.0)
