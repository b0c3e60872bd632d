"""Functions can be read at once: at most ten ways through, six parameters, three levels of blocks."""

from __future__ import annotations

from textwrap import dedent

import pytest
from shape import docstrings
from shape.density import LEVELS, PARAMETERS, WAYS, Measure, measures, of_text
from shape.rooms import EXAMPLES, classes_of_a_rebuild, rooms_of
from shape.unread import of_texts as unread_in
from shape.unread import unread_fields
from shape.vague import of_text as vague_in
from shape.vague import vague_locals


def is_dense(measure: Measure) -> bool:
    return measure.ways > WAYS or measure.parameters > PARAMETERS or measure.levels > LEVELS


def test_no_function_is_denser_than_one_can_read() -> None:
    dense = [str(measure) for measure in measures() if is_dense(measure)]
    assert not dense, "\n".join(dense)


@pytest.mark.parametrize(
    ("what", "most"),
    [
        ("a column (rebuild.asked_by)", 3),
        ("a column that all are told (cause.inherited_from)", 3),
        ("a builder (osbs)", 3),
        ("a source (registry)", 2),
        ("a key of the policy (package)", 2),
        ("a notification (image.unneeded)", 4),
    ],
)
def test_a_change_touches_few_rooms(what: str, most: int) -> None:
    rooms = rooms_of(EXAMPLES[what])
    assert 1 <= len(rooms) <= most, sorted(rooms)


def test_a_rebuild_has_few_classes() -> None:
    classes = list(classes_of_a_rebuild())
    assert len(classes) <= 4, classes


def test_locals_say_what_they_are() -> None:
    vague = list(vague_locals())
    assert not vague, "\n".join(vague)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f():\n    found = 1\n    return found", [(2, "found")]),
        ("def f(a):\n    return [told for told in a if (asked := told)]", [(2, "asked"), (2, "told")]),
        ("class A:\n    found: int\n    def f(self, asked): return self.found", []),
    ],
)
def test_a_local_that_does_not_is_seen(text: str, expected: list[tuple[int, str]]) -> None:
    assert list(vague_in(text)) == expected


def test_what_is_public_says_what_it_is() -> None:
    silent = list(docstrings.undocumented())
    assert not silent, "\n".join(silent)


def test_what_a_class_keeps_is_read_somewhere() -> None:
    assert not list(unread_fields())


def test_what_is_never_read_is_seen() -> None:
    kept = "class A(Struct, frozen=True):\n    queue: str\n    name: str\n    topic: str\n    body: str\n"
    more = "class B(A, frozen=True):\n    late: bool\n    name: str"
    read = "def f(a): print(a.name)\ndef g(a):\n    match a:\n        case A(topic=t): return t"
    assert list(unread_in([kept, more, read], ["{{ a.body }}"])) == ["A.queue", "B.late"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(): pass", [(1, "the module"), (1, "f")]),
        ('"""M."""\ndef _f(): pass\nclass _C: pass', []),
        ('"""M."""\nclass C:\n    def f(self): pass', [(2, "C"), (3, "C.f")]),
        ('"""M."""\nclass C(Library):\n    """C."""\n    def f(self): pass', []),
        ('"""M."""\nclass P(Protocol):\n    """P."""\n    def f(self):\n        """F."""\n'
         'class C:\n    """C."""\n    def f(self): pass\n    def g(self): pass', [(9, "C.g")]),
    ],
)  # fmt: skip
def test_what_says_nothing_is_seen(text: str, expected: list[tuple[int, str]]) -> None:
    (found,) = docstrings.of_texts([text])
    assert found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(a): return [x for x in a if x and a]", (4, 1, 0)),
        ("class A:\n    def f(self, a, *, b): pass", (1, 2, 0)),
        ("def f(a):\n    if a:\n        for x in a:\n            with x:\n                pass", (3, 1, 3)),
        ("def f(a):\n    if a:\n        pass\n    elif not a:\n        pass", (3, 1, 1)),
        ("@click.command()\ndef f(a, b): pass", (1, 0, 0)),
    ],
)
def test_what_is_measured(text: str, expected: tuple[int, int, int]) -> None:
    (found,) = of_text(dedent(text), "m")
    assert (found.ways, found.parameters, found.levels) == expected
