"""Filling in the variables of a word in a Containerfile, as BuildKit's shell lexer does it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from rebuilder.domain.errors import RequestError

NAME = re.compile(r"[A-Za-z_]\w*|\d+|[@*#?$!]", re.ASCII)
OPERATORS = re.compile(r":?[-+?]|%%?|##?|//?")
UNDERSTOOD = "${V}, with one of :- - :+ + :? ? % %% # ## / // behind the name"
LONGEST = 10_000  # characters that variables may add to a word: ARGs that each name the last one twice have no end
LONGEST_CUT, MOST_STARS = 255, 2  # of a value, and of a pattern that is looked for in it: it may be tried at each place
DEEPEST = 8  # substitutions within each other: each that fails is read once more


def expand(
    text: str, arguments: Mapping[str, str], line: int, *, lenient: bool = False, escape: str = "\\"
) -> str:
    """The word without its quotes, its variables filled in.

    Raises RequestError for a variable without a value, and for what is not a substitution, unless `lenient`: then the
    one is empty, and a word with the other stays as it is. Raises it for a word that becomes too long in any case.
    """
    try:
        return _Word(text, arguments, lenient, escape).expanded()
    except _Unusable as error:
        if lenient and not isinstance(error, _TooLong):
            return text
        raise RequestError(f"{line}: {text}: {error}") from None


class _Unusable(Exception):
    """Why a word has no value."""


class _TooLong(_Unusable):
    """Its variables have too many characters."""


class _Word:
    """Goes through a word once, from its first character to its last."""

    def __init__(self, text: str, arguments: Mapping[str, str], lenient: bool, escape: str) -> None:
        self._text, self._at = text, 0
        self._arguments, self._lenient, self._escape = arguments, lenient, escape
        self._room, self._depth = LONGEST, 0

    def expanded(self) -> str:
        return self._until("")

    def _next(self) -> str:
        """The next character, which is then behind us; "" at the end."""
        character = self._text[self._at : self._at + 1]
        self._at += len(character)
        return character

    def _until(self, stop: str) -> str:
        """What stands before the character `stop`, expanded; the whole rest where that is empty."""
        parts: list[str] = []
        while character := self._next():
            if character == stop:
                return "".join(parts)
            match character:
                case "'":
                    parts.append(self._single_quoted())
                case '"':
                    parts.append(self._double_quoted())
                case "$":
                    parts.append(self._variable())
                case self._escape:
                    parts.append(self._next() or character)
                case _:
                    parts.append(character)
        if stop:
            raise _Unusable(f"{stop} is missing")
        return "".join(parts)

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise _Unusable("' is missing")
        quoted, self._at = self._text[self._at : end], end + 1
        return quoted

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while (character := self._next()) != '"':
            if not character:
                raise _Unusable('" is missing')
            if character == "$":
                parts.append(self._variable())
            elif character == self._escape:
                following = self._next()
                parts.append(following if following in ('"', "$", self._escape) else character + following)
            else:
                parts.append(character)
        return "".join(parts)

    def _variable(self) -> str:
        """What a dollar stands for, where that is neither too long nor too deep."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Unusable(f"more than {DEEPEST} substitutions within each other")
        value = self._substitution()
        self._depth -= 1
        self._room -= len(value)
        if self._room < 0:
            raise _TooLong(f"its variables have more than {LONGEST} characters")
        return value

    def _substitution(self) -> str:
        """What follows a dollar; the dollar itself where no name does."""
        braced = self._text[self._at : self._at + 1] == "{"
        name = NAME.match(self._text, self._at + braced)
        if name is None:
            return self._refuse() if braced else "$"
        self._at = name.end()
        if not braced:
            return self._plain(name[0])
        if self._text[self._at : self._at + 1] == "}":
            self._at += 1
            return self._plain(name[0])
        operator = OPERATORS.match(self._text, self._at)
        if operator is None:
            self._refuse()
        self._at = operator.end()
        if operator[0].lstrip(":") in ("-", "+", "?"):
            return self._chosen(name[0], operator[0])
        return self._cut(name[0], operator[0])

    def _refuse(self) -> NoReturn:
        raise _Unusable(f"unsupported substitution: {UNDERSTOOD}")

    def _plain(self, name: str) -> str:
        if name in self._arguments or self._lenient:
            return self._arguments.get(name, "")
        raise _Unusable(f"{name} has no value; it needs an ARG with a default or in build_args")

    def _chosen(self, name: str, operator: str) -> str:
        """`${V:-word}` and its kin: with a colon, what is empty counts as not set."""
        value = self._arguments.get(name)
        is_set = bool(value) if operator[0] == ":" else value is not None
        kind = operator[-1]
        word = self._word(taken=is_set == (kind == "+"))
        if kind == "+":
            return word if is_set else ""
        if is_set:
            return value or ""
        if kind == "?" and not self._lenient:
            raise _Unusable(word or f"{name} has no value")
        return "" if kind == "?" else word

    def _word(self, *, taken: bool) -> str:
        """The word before the closing brace. One that is not taken may name what it likes."""
        before = self._at, self._depth
        try:
            return self._until("}")
        except _Unusable:
            self._at, self._depth = before
            if taken:
                raise
            return self._skipped()

    def _skipped(self) -> str:
        """Go past the word before the closing brace, and give nothing for it. Raises _Unusable where there is none."""
        lenient, self._lenient = self._lenient, True
        try:
            self._until("}")
        finally:
            self._lenient = lenient
        return ""

    def _cut(self, name: str, operator: str) -> str:
        """`${V%pattern}` and its kin: without a part of its value, or with another in its place."""
        value = self._plain(name)
        if len(value) > LONGEST_CUT:
            raise _Unusable(f"nothing is cut from a value of more than {LONGEST_CUT} characters")
        if operator in ("/", "//"):
            pattern, other = _glob(self._until("/"), greedy=True), self._until("}")
            return re.sub(pattern, lambda _: other, value, count=0 if operator == "//" else 1)
        greedy = len(operator) == 2
        pattern = _glob(self._until("}"), greedy=greedy)
        if operator[0] == "#":
            match = re.match(pattern, value, re.DOTALL)
            return value[match.end() :] if match else value
        starts = range(len(value) + 1) if greedy else reversed(range(len(value) + 1))
        start = next((at for at in starts if re.fullmatch(pattern, value[at:], re.DOTALL)), len(value))
        return value[:start]


def _glob(pattern: str, *, greedy: bool) -> str:
    """The regular expression of a shell pattern with `*` and `?`. Raises _Unusable for one of too many."""
    if pattern.count("*") > MOST_STARS:
        raise _Unusable(f"a pattern with more than {MOST_STARS} of *")
    any_number = ".*" if greedy else ".*?"
    return "".join(any_number if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
