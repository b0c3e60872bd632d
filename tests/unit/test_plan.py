"""Changes and an inventory give a plan."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.planning import NEW, OLD, change, image, left_out, plan, rebuilt

from rebuilder.domain.image import Parent, ParentKind
from rebuilder.domain.impact import Reason, Skip, Skipped


def test_the_design_s_example() -> None:
    images = [
        image("base", rpms=(OLD,), seconds=240),
        image("httpd", "base", rpms=(OLD,), seconds=480),
        image("old:f41", rpms=(OLD,)),
        image("new", rpms=(NEW,)),
        image("other"),
    ]
    found = plan(images, change(severity="high"), slots=20)
    told = change("openssl-1:3.2.2-1.fc42", severity="high")
    assert found.changes == (told,), "the epoch is that of what is installed"
    assert [(r.image, r.depends_on, r.level, r.reasons) for r in found.rebuilds] == [
        ("base:f42", (), 0, (Reason("rpm", told, OLD),)),
        ("httpd:f42", ("base:f42",), 1, (Reason("rpm", told, OLD, "base:f42"),)),
    ]
    assert found.skipped == (Skipped("old:f41", Skip.OTHER_STREAM), Skipped("new:f42", Skip.ALREADY_CURRENT))
    assert found.untouched == 1
    estimate = found.estimate
    assert (estimate.makespan_s, estimate.work_s, estimate.slots) == (720, 720, 20)
    assert estimate.critical_path == ("base:f42", "httpd:f42")


def test_without_images_there_is_nothing_to_do() -> None:
    assert list(plan([]).rebuilds) == []


def test_a_plan_s_rebuilds_are_read_one_by_one_by_place_and_by_slice() -> None:
    images = [image("a", rpms=(OLD,)), image("b", "a", rpms=(OLD,)), image("c", "b", rpms=(OLD,))]
    rebuilds = plan(images).rebuilds
    assert [(rebuild.image, rebuild.depends_on) for rebuild in rebuilds] == [
        ("a:f42", ()), ("b:f42", ("a:f42",)), ("c:f42", ("b:f42",)),
    ]  # fmt: skip
    everyone = list(rebuilds)
    assert [rebuilds[at] for at in range(3)] == everyone
    assert rebuilds[-1] == everyone[2]
    assert rebuilds[1:] == everyone[1:]
    with pytest.raises(IndexError):
        rebuilds[3]


def test_a_change_touches_its_own_stream_alone() -> None:
    images = [image("base:f41", rpms=(OLD,)), image("base:f42", rpms=(OLD,))]
    assert rebuilt(plan(images, change(stream="f41"))) == ["base:f41"]
    assert rebuilt(plan(images, change(stream="f41"), change(stream="f42"))) == ["base:f41", "base:f42"]


def test_a_newer_rpm_than_the_change_is_current() -> None:
    images = [image("a", rpms=("openssl-libs-1:3.3.0-1.fc42.x86_64",))]
    assert plan(images).skipped == (Skipped("a:f42", Skip.ALREADY_CURRENT),)


def test_one_stale_rpm_among_current_ones_is_enough() -> None:
    images = [image("a", rpms=(NEW, "openssl-1:3.2.1-1.fc42.x86_64"))]
    (only,) = plan(images).rebuilds
    assert [reason.installed for reason in only.reasons] == ["openssl-1:3.2.1-1.fc42.x86_64"]


def test_of_several_changes_of_one_package_the_newest_counts_with_the_worst_severity() -> None:
    told = (
        change("openssl-3.2.3-1.fc42", severity="low"),
        change("openssl-3.2.10-1.fc42"),
        change("openssl-3.2.9-1.fc42", severity="urgent"),
    )
    images = [image("a", rpms=("openssl-libs-1:3.2.9-5.fc42.x86_64",))]
    for changes in (told, told[::-1]):
        found = plan(images, *changes)
        assert found.changes == (change("openssl-1:3.2.10-1.fc42", severity="urgent"),)
        assert rebuilt(found) == ["a:f42"]


def test_changes_of_several_packages_are_all_reasons() -> None:
    images = [image("a", rpms=(OLD, "bash-5.2-1.fc42.x86_64"))]
    (only,) = plan(images, change(), change("bash-5.3-1.fc42")).rebuilds
    assert {reason.change.build.name for reason in only.reasons} == {"openssl", "bash"}


@pytest.mark.parametrize(
    ("installed", "offered", "stale"),
    [
        ("x-1:3-1.fc42.noarch", "x-4-1.fc42", True),  # unknown epoch: within the installed one
        ("x-1:3-1.fc42.noarch", "x-2-1.fc42", False),
        ("x-1:3-1.fc42.noarch", "x-0:9-1.fc42", False),  # a known epoch counts
        ("x-9-1.fc42.noarch", "x-1:1-1.fc42", True),
        ("x-1.0~rc1-1.fc42.noarch", "x-1.0-1.fc42", True),
        ("x-1.0-1.fc42.noarch", "x-1.0~rc1-1.fc42", False),
        ("x-1.0-1.fc42.noarch", "x-1.0^git1-1.fc42", True),
        ("x-1.0.1-1.fc42.noarch", "x-1.0^git1-1.fc42", False),
        ("x-1.9-1.fc42.noarch", "x-1.10-1.fc42", True),
        ("x-1.0-1.fc42.noarch", "x-1.0-1.fc42.1", True),
        ("perl-Errno-1.38-512.fc42.noarch < x-5.40.0-512.fc42.src.rpm", "x-5.40.1-513.fc42", True),
        ("perl-Errno-1.38-512.fc42.noarch < x-5.40.0-512.fc42.src.rpm", "x-5.40.0-512.fc42", False),
        ("perl-libs-4:5.40.0-512.fc42.noarch < x-5.40.0-512.fc42.src.rpm", "x-5.40.0-513.fc42", True),
    ],
)
def test_versions(installed: str, offered: str, stale: bool) -> None:
    found = plan([image("a", rpms=(installed,))], change(offered))
    assert rebuilt(found) == (["a:f42"] if stale else [])
    assert found.skipped == (() if stale else (Skipped("a:f42", Skip.ALREADY_CURRENT),))


def test_epochs_that_differ_among_subpackages_leave_the_change_s_unknown() -> None:
    images = [image("a", rpms=("x-1:1-1.fc42.noarch < x", "x-doc-2:1-1.fc42.noarch < x"))]
    found = plan(images, change("x-2-1.fc42"))
    assert found.changes[0].build.evr.epoch is None
    assert len(found.rebuilds[0].reasons) == 2


def test_a_package_whose_name_begins_another_s_is_not_that_one() -> None:
    images = [image("a", rpms=("python3-1-1.noarch",)), image("b", rpms=("python3-six-1-1.noarch",))]
    assert rebuilt(plan(images, change("python3-2-1"))) == ["a:f42"]
    assert rebuilt(plan(images, change("python3-six-2-1"))) == ["b:f42"]
    assert plan(images, change("python-2-1")).untouched == 2


def test_a_binary_package_counts_by_its_source_and_not_by_its_name() -> None:
    images = [image("a", rpms=("openssl-9-1.noarch < compat-openssl",))]
    assert plan(images).untouched == 1
    assert rebuilt(plan(images, change("compat-openssl-10-1"))) == ["a:f42"]


def test_inherited_from_names_the_layer_that_brought_the_rpm_in() -> None:
    images = [image("root"), image("mid", "root", rpms=(OLD,)), image("low", "mid", rpms=(OLD,)),
              image("app", "low", rpms=(OLD,))]  # fmt: skip
    origins = {r.image: r.reasons[0].inherited_from for r in plan(images).rebuilds}
    assert origins == {"mid:f42": "", "low:f42": "mid:f42", "app:f42": "mid:f42"}


def test_an_rpm_removed_in_a_middle_layer_and_installed_again_below_is_that_layer_s_own() -> None:
    images = [image("root", rpms=(OLD,)), image("mid", "root"), image("app", "mid", rpms=(OLD,))]
    found = plan(images)
    assert [(r.image, r.depends_on, r.level, r.reasons[0].inherited_from) for r in found.rebuilds] == [
        ("root:f42", (), 0, ""),
        ("app:f42", (), 0, ""),
    ]
    assert found.untouched == 1


def test_an_rpm_updated_in_a_layer_is_that_layer_s_own() -> None:
    images = [image("root", rpms=("openssl-libs-1:3.0-1.fc42.x86_64",)), image("app", "root", rpms=(OLD,))]
    assert [r.reasons[0].inherited_from for r in plan(images).rebuilds] == ["", ""]


def test_in_a_diamond_the_last_image_waits_for_both_sides() -> None:
    images = [image("app", "left", rpms=(OLD,), stage=("right",)), image("right", "root", rpms=(OLD,)),
              image("left", "root", rpms=(OLD,)), image("root", rpms=(OLD,))]  # fmt: skip
    found = plan(images)
    assert rebuilt(found)[0] == "root:f42"
    last = found.rebuilds[-1]
    assert (last.image, set(last.depends_on), last.level) == ("app:f42", {"left:f42", "right:f42"}, 2)


def test_the_level_is_the_longest_path() -> None:
    images = [image("root", rpms=(OLD,)), image("mid", "root", rpms=(OLD,)),
              image("app", "root", rpms=(OLD,), stage=("mid",))]  # fmt: skip
    assert [r.level for r in plan(images).rebuilds] == [0, 1, 2]


def test_a_stage_parent_orders_and_hands_on_no_rpm() -> None:
    images = [image("builder", rpms=(OLD,)), image("app", rpms=(OLD,), stage=("builder",)),
              image("static", stage=("builder",))]  # fmt: skip
    found = plan(images)
    assert [(r.image, r.depends_on, r.reasons[0].inherited_from) for r in found.rebuilds] == [
        ("builder:f42", (), ""),
        ("app:f42", ("builder:f42",), ""),
    ]
    assert found.untouched == 1


def test_descendants_all_takes_in_everything_built_on_what_is_rebuilt() -> None:
    images = [image("root", rpms=(OLD,)), image("mid", "root"), image("app", "mid", rpms=(NEW,)),
              image("static", stage=("root",)), image("else")]  # fmt: skip
    found = plan(images, descendants="all")
    assert [(r.image, r.level, r.reasons[0].kind, r.reasons[0].inherited_from) for r in found.rebuilds] == [
        ("root:f42", 0, "rpm", ""),
        ("mid:f42", 1, "parent", "root:f42"),
        ("app:f42", 2, "parent", "mid:f42"),
    ]
    assert found.skipped == ()
    assert found.untouched == 2


def test_an_image_whose_manifest_is_unknown_is_left_out_and_named() -> None:
    images = [image("a", rpms=None), image("b:f41", rpms=None), image("c", rpms=())]
    found = plan(images)
    assert found.skipped == (Skipped("a:f42", Skip.UNKNOWN),)
    assert found.untouched == 2


def test_an_estimate_given_is_better_than_the_inventory_s() -> None:
    images = [image("a", rpms=(OLD,), seconds=100), image("b", "a", rpms=(OLD,))]
    assert plan(images).estimate.work_s == 400
    assert plan(images, seconds={"a:f42": 7, "b:f42": 5}).estimate.work_s == 12


def test_the_same_inputs_in_another_order_give_the_same_rebuilds() -> None:
    images = [image("root", rpms=(OLD,)), image("a", "root", rpms=(OLD,)), image("b", "a", rpms=(OLD,))]
    found = plan(images)
    assert found == plan(images)
    assert {(r.image, r.depends_on, r.level) for r in plan(images[::-1]).rebuilds} == {
        (r.image, r.depends_on, r.level) for r in found.rebuilds
    }


def test_a_chain_goes_on_below_an_image_that_is_not_affected() -> None:
    images = [image("base", rpms=(OLD,)), image("mid", "base"), image("app", "mid", rpms=(OLD,))]
    assert [(r.image, r.depends_on) for r in plan(images).rebuilds] == [("base:f42", ()), ("app:f42", ())]


def test_an_rpm_that_only_a_leaf_adds_touches_the_leaf_alone() -> None:
    images = [image("base"), image("mid", "base"), image("app", "mid", rpms=(OLD,))]
    (only,) = plan(images).rebuilds
    assert (only.image, only.reasons[0].inherited_from) == ("app:f42", "")


def test_two_changes_of_different_reach_meet_in_the_image_that_carries_both() -> None:
    images = [image("base", rpms=(OLD,)), image("left", "base", rpms=(OLD, "bash-5.2-1.fc42.x86_64")),
              image("right", "base", rpms=(OLD,)), image("alone", rpms=("bash-5.2-1.fc42.x86_64",))]  # fmt: skip
    found = plan(images, change(), change("bash-5.3-1.fc42"))
    packages = {r.image: sorted(reason.change.build.name for reason in r.reasons) for r in found.rebuilds}
    assert packages == {
        "base:f42": ["openssl"], "left:f42": ["bash", "openssl"], "right:f42": ["openssl"], "alone:f42": ["bash"],
    }  # fmt: skip


def test_an_image_with_a_stale_rpm_for_any_of_its_architectures_is_stale() -> None:
    images = [image("a", rpms=(NEW, "openssl-libs-1:3.2.1-1.fc42.aarch64")), image("b", rpms=(NEW,))]
    found = plan(images)
    assert [r.reasons[0].installed for r in found.rebuilds] == ["openssl-libs-1:3.2.1-1.fc42.aarch64"]
    assert left_out(found) == [("b:f42", "already-current", "")]


def test_a_module_s_build_and_the_distribution_s_do_not_replace_each_other() -> None:
    module = "nodejs-1:18.1-1.module_f42+12+ab.x86_64"
    images = [image("plain", rpms=("nodejs-1:20.1-1.fc42.x86_64",)), image("modular", rpms=(module,))]
    found = plan(images, change("nodejs-22.1-1.fc42"))
    assert rebuilt(found) == ["plain:f42"]
    assert left_out(found) == [("modular:f42", "other-module", "")]
    assert rebuilt(plan(images, change("nodejs-18.2-1.module_f42+13+cd"))) == ["modular:f42"]


def test_builds_of_a_module_and_of_the_distribution_are_two_changes() -> None:
    module = "nodejs-1:18.1-1.module_f42+12+ab.x86_64"
    images = [image("plain", rpms=("nodejs-1:20.1-1.fc42.x86_64",)), image("modular", rpms=(module,))]
    found = plan(images, change("nodejs-22.1-1.fc42"), change("nodejs-18.2-1.module_f42+13+cd"))
    assert rebuilt(found) == ["plain:f42", "modular:f42"]


def test_an_rpm_that_may_come_from_an_external_parent_says_which() -> None:
    spec = "registry.example.com/fedora:42"
    top, build = image("base", rpms=(OLD,))
    top = replace(top, parents=(Parent(ParentKind.BASE, external=spec),))
    found = plan([(top, build), image("app", "base", rpms=(OLD,)), image("own", rpms=(OLD,))])
    assert {r.image: (r.reasons[0].inherited_from, r.reasons[0].external) for r in found.rebuilds} == {
        "base:f42": ("", spec), "app:f42": ("base:f42", spec), "own:f42": ("", ""),
    }  # fmt: skip


def test_a_stage_parent_propagates_where_the_setting_says_so() -> None:
    images = [image("builder", rpms=(OLD,)), image("static", stage=("builder",)), image("below", "static"),
              image("again", stage=("static",))]  # fmt: skip
    assert rebuilt(plan(images)) == ["builder:f42"]
    found = plan(images, stage_parents="propagate")
    assert [(r.image, r.level, r.reasons[0].kind, r.reasons[0].inherited_from) for r in found.rebuilds] == [
        ("builder:f42", 0, "rpm", ""),
        ("static:f42", 1, "parent", "builder:f42"),
        ("again:f42", 2, "parent", "static:f42"),
    ]
    assert len(plan(images, stage_parents="propagate", descendants="all").rebuilds) == 4


@pytest.mark.parametrize("flip", [1, -1])
def test_the_newest_of_builds_with_and_without_known_epochs_does_not_depend_on_their_order(flip: int) -> None:
    told = [change("x-1:2-1.fc42"), change("x-9-1.fc42"), change("x-0:5-1.fc42")][::flip]
    for installed in ("x-1:1-1.fc42.noarch", "x-1-1.fc42.noarch"):
        found = plan([image("a", rpms=(installed,))], *told)
        assert found.changes[0].build.evr.version_release == ("9-1.fc42" if "1:1" in installed else "2-1.fc42")


OLD_44, NEW_44 = "openssl-libs-1:3.2.1-1.fc44.x86_64", "openssl-libs-1:3.2.2-1.fc44.x86_64"
ACROSS = [
    image("base:f44", rpms=(OLD_44,)), image("tool", "base:f44", rpms=(OLD_44,)), image("top", "tool", rpms=(OLD_44,)),
]  # fmt: skip


def test_what_an_image_has_from_a_parent_in_another_stream_is_of_that_stream() -> None:
    found = plan(ACROSS, change("openssl-3.2.2-1.fc44", "f44"))
    assert [(r.image, [reason.inherited_from for reason in r.reasons]) for r in found.rebuilds] == [
        ("base:f44", [""]), ("tool:f42", ["base:f44"]), ("top:f42", ["base:f44"]),
    ]  # fmt: skip
    assert rebuilt(plan(ACROSS, change("openssl-3.2.2-1.fc42", "f42"))) == []


def test_it_still_is_when_the_parent_has_the_newer_one_already() -> None:
    images = [image("base:f44", rpms=(NEW_44,)), *ACROSS[1:]]
    assert rebuilt(plan(images, change("openssl-3.2.2-1.fc44", "f44"))) == ["tool:f42", "top:f42"]


def test_what_it_installs_from_its_own_stream_is_of_that() -> None:
    images = [ACROSS[0], image("tool", "base:f44", rpms=(OLD,))]
    assert rebuilt(plan(images, change("openssl-3.2.2-1.fc42", "f42"))) == ["tool:f42"]
    assert rebuilt(plan(images, change("openssl-3.2.2-1.fc44", "f44"))) == ["base:f44"]


def test_an_image_of_which_nobody_knows_may_have_what_a_parent_in_another_stream_has() -> None:
    images = [ACROSS[0], image("tool", "base:f44", rpms=None)]
    assert left_out(plan(images, change("openssl-3.2.2-1.fc44", "f44"))) == [("tool:f42", "unknown", "")]


OLD_KERNEL, NEW_KERNEL = "kernel-core-6.8.1-1.fc42.x86_64 < kernel", "kernel-core-6.8.2-1.fc42.x86_64 < kernel"


def test_of_what_is_installed_side_by_side_the_newest_counts() -> None:
    update = change("kernel-6.8.2-1.fc42")
    both = [image("a", rpms=(OLD_KERNEL, NEW_KERNEL))]
    assert left_out(plan(both, update)) == [("a:f42", "already-current", "")]
    assert rebuilt(plan(both, update, installonly=())) == ["a:f42"]
    newer = plan(both, change("kernel-6.8.3-1.fc42"))
    assert [reason.installed for reason in newer.rebuilds[0].reasons] == ["kernel-core-6.8.2-1.fc42.x86_64"]


def test_each_architecture_of_it_counts() -> None:
    other = OLD_KERNEL.replace("x86_64", "aarch64")
    assert rebuilt(plan([image("a", rpms=(other, NEW_KERNEL))], change("kernel-6.8.2-1.fc42"))) == ["a:f42"]


def test_two_versions_of_any_other_package_are_both_used() -> None:
    assert rebuilt(plan([image("a", rpms=(OLD, NEW))])) == ["a:f42"]


def test_a_reason_names_the_source_build_that_was_compared_where_the_rpm_has_a_version_of_its_own() -> None:
    names = "perl-Carp-1.54-500.fc42.noarch", "perl-libs-5.38.2-500.fc42.x86_64"
    rpms = tuple(f"{name} < perl-5.38.2-500.fc42.src.rpm" for name in names)
    found = plan([image("a", rpms=rpms)], change("perl-5.40.0-1.fc42"))
    assert {reason.installed: reason.compared for reason in found.rebuilds[0].reasons} == {
        "perl-Carp-1.54-500.fc42.noarch": "perl-5.38.2-500.fc42", "perl-libs-5.38.2-500.fc42.x86_64": "",
    }  # fmt: skip
