"""The operators' rules."""

from __future__ import annotations

import pytest

from rebuilder.config import Settings, settings_of
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image
from rebuilder.domain.policy import Action, Pattern, Rule, about, decide
from rebuilder.domain.rpm import SourceBuild

IMAGE = Image("web-front", "f42")
CHANGE = Change(SourceBuild.parse("openssl-3-1.fc42"), "f42", Severity.HIGH, type="security", cves=("CVE-2026-1111",))


def rules(*tables: dict[str, object]) -> tuple[Rule, ...]:
    named = [{"name": f"r{at}", **table} for at, table in enumerate(tables)]
    return Settings.model_validate({"policy": named}).terms({}).rules


def decided(*tables: dict[str, object], image: Image = IMAGE, change: Change = CHANGE) -> str | None:
    rule = decide(about(rules(*tables), change), image)
    return rule.name if rule else None


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("web-*", "web-front", True),
        ("web", "web-front", False),
        ("*front", "web-front", True),
        ("web-?", "web-front", False),
        ("/web-(front|back)/", "web-front", True),
        ("/web/", "web-front", False),  # the whole text
        ("/front$/", "web-front", False),
        ("a.c", "abc", False),  # a dot in a glob is a dot
        ("WEB-*", "web-front", False),
    ],
)
def test_a_glob_or_a_regular_expression_fits_the_whole_text(pattern: str, text: str, fits: bool) -> None:
    assert Pattern.parse(pattern).fits(text) is fits


def test_with_no_rule_everything_is_taken_up() -> None:
    assert decided() is None


def test_the_first_rule_that_fits_decides() -> None:
    allow, deny = {"action": "allow", "package": "openssl"}, {"action": "deny"}
    assert decided(allow, deny) == "r0"
    assert decided(deny, allow) == "r0"
    assert decided(allow, deny, change=Change(SourceBuild.parse("bash-5-1.fc42"), "f42")) == "r1"


@pytest.mark.parametrize(
    ("key", "fitting", "other"),
    [
        ("image", "web-*", "db-*"),
        ("image", "web-front:f42", "web-front:f41"),
        ("stream", "f4?", "epel*"),
        ("package", ["bash", "openssl"], "openssl-libs"),
        ("severity", ["urgent", "high"], "low"),
        ("type", "security", "/bugfix|enhancement/"),
        ("cve", "CVE-2026-*", ["CVE-2025-*", "CVE-2026-11"]),
    ],
)
def test_a_rule_fits_by_each_of_its_lists(key: str, fitting: object, other: object) -> None:
    assert decided({"action": "deny", key: fitting}) == "r0"
    assert decided({"action": "deny", key: other}) is None


def test_a_rule_fits_only_where_all_its_lists_do() -> None:
    assert decided({"action": "deny", "package": "openssl", "stream": "f41"}) is None


def test_an_action_is_what_the_word_says() -> None:
    assert [rule.action for rule in rules({"action": "allow"}, {"action": "deny"}, {"action": "approve"})] == [
        Action.ALLOW, Action.DENY, Action.APPROVE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"name": "a", "action": "deny", "packages": "x"}, "policy.0.packages: unknown key"),
        ({"name": "a", "action": "forbid"}, "policy.0.action"),
        ({"action": "deny"}, "policy.0.name"),
        ({"name": "", "action": "deny"}, "policy.0.name"),
        ({"name": "a", "action": "deny", "image": "/(/"}, "/(/ is not a regular expression"),
        ({"name": "a", "action": "deny", "image": [""]}, "must not be empty"),
        ({"name": "a", "action": "deny", "severity": "critical"}, "policy.0.severity"),
        ({"name": "a", "action": "deny", "image": 7}, "policy.0.image"),
    ],
)
def test_a_wrong_rule_is_an_error_that_names_the_key(rule: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError) as error:
        settings_of({"policy": [rule]})
    assert words in str(error.value)
    assert "\n" not in str(error.value)
