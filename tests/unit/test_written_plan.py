"""A plan that a server wrote is read as it was: each reason with its own change."""

from __future__ import annotations

from support.planning import change, image, plan

from rebuilder.queries.plan import read, written


def test_two_packages_of_the_same_version_and_release_keep_their_reasons() -> None:
    images = [image("app", rpms=("alpha-1.0-1.fc42.noarch < alpha", "beta-1.0-1.fc42.noarch < beta"))]
    made = plan(images, change("alpha-2.0-1.fc42", severity="low"), change("beta-2.0-1.fc42", severity="urgent"))
    (rebuild,) = read(written(made)).rebuilds
    told = {reason.installed: reason.change for reason in rebuild.reasons}
    assert {installed: (change.build.name, str(change.severity)) for installed, change in told.items()} == {
        "alpha-1.0-1.fc42.noarch": ("alpha", "low"),
        "beta-1.0-1.fc42.noarch": ("beta", "urgent"),
    }


def test_a_reason_that_one_change_alone_can_mean_is_as_short_as_ever() -> None:
    made = plan([image("app", rpms=("alpha-1.0-1.fc42.noarch < alpha",))], change("alpha-2.0-1.fc42"))
    assert written(made)["rebuilds"][0].reasons == (
        {"kind": "rpm", "installed": "alpha-1.0-1.fc42.noarch", "available": "2.0-1.fc42", "inherited_from": None},
    )
