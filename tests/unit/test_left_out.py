"""Whom operators leave out of a plan: images on hold, and what the policy's rules say."""

from __future__ import annotations

from support.planning import NEW, OLD, change, image, left_out, plan, rebuilt

from rebuilder.config import Settings
from rebuilder.domain.policy import Action, Rule

CHAIN = [image("base", rpms=(OLD,)), image("mid", "base", rpms=(OLD,)), image("app", "mid", rpms=(OLD,))]


def rule(name: str, action: str, **lists: object) -> tuple[Rule, ...]:
    return Settings.model_validate({"policy": [{"name": name, "action": action, **lists}]}).terms({}).rules


def test_an_image_on_hold_is_left_out_with_who_holds_it() -> None:
    found = plan(CHAIN, held={"app:f42": "ann: broken tests"})
    assert rebuilt(found) == ["base:f42", "mid:f42"]
    assert left_out(found) == [("app:f42", "held", "ann: broken tests")]


def test_what_would_only_inherit_the_old_rpm_again_is_left_out_with_its_parent_s_name() -> None:
    found = plan(CHAIN, held={"base:f42": "ann"})
    assert rebuilt(found) == []
    assert left_out(found) == [("base:f42", "held", "ann"), ("mid:f42", "parent-left-out", "base:f42"),
                               ("app:f42", "parent-left-out", "mid:f42")]  # fmt: skip


def test_below_an_image_on_hold_a_change_that_it_does_not_hand_on_is_taken_up() -> None:
    images = [*CHAIN[:2], image("app", "mid", rpms=(OLD, "bash-5.2-1.fc42.x86_64"))]
    found = plan(images, change(), change("bash-5.3-1.fc42"), held={"mid:f42": "ann"})
    assert {r.image: [reason.change.build.name for reason in r.reasons] for r in found.rebuilds} == {
        "base:f42": ["openssl"], "app:f42": ["bash"],
    }  # fmt: skip


def test_a_hold_does_not_matter_to_an_image_that_is_current() -> None:
    assert left_out(plan([image("a", rpms=(NEW,))], held={"a:f42": "ann"})) == [("a:f42", "already-current", "")]


def test_with_all_descendants_wanted_an_image_on_hold_and_what_is_below_it_stay() -> None:
    images = [image("root", rpms=(OLD,)), image("mid", "root"), image("app", "mid")]
    found = plan(images, descendants="all", held={"mid:f42": "ann"})
    assert rebuilt(found) == ["root:f42"]
    assert left_out(found) == [("mid:f42", "held", "ann")]
    assert found.untouched == 1


def test_a_rule_that_leaves_images_out_is_named_with_them() -> None:
    found = plan(CHAIN, rules=rule("no apps", "deny", image="app"))
    assert rebuilt(found) == ["base:f42", "mid:f42"]
    assert left_out(found) == [("app:f42", "policy", "no apps")]
    assert [(a.rule, a.action, a.images) for a in found.applied] == [("no apps", Action.DENY, 1)]


def test_a_rule_that_leaves_out_one_of_two_changes_is_named_though_the_image_is_rebuilt() -> None:
    images = [image("a", rpms=(OLD, "bash-5.2-1.fc42.x86_64"))]
    found = plan(images, change(), change("bash-5.3-1.fc42"), rules=rule("no bash", "deny", package="bash"))
    assert [reason.change.build.name for reason in found.rebuilds[0].reasons] == ["openssl"]
    assert [(a.rule, a.images) for a in found.applied] == [("no bash", 1)]


def test_a_rule_that_fits_nothing_stale_is_not_named() -> None:
    assert plan([image("a", rpms=(NEW,))], rules=rule("never", "deny")).applied == ()


def test_a_rule_may_ask_for_approval_of_a_change() -> None:
    found = plan(CHAIN, rules=rule("ask", "approve", package="openssl"))
    assert rebuilt(found) == ["base:f42", "mid:f42", "app:f42"]
    assert found.unapproved == found.changes
