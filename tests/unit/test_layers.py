"""Which image is built on which, by layers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.inventory.registry.layers import Ancestors, Layered

layers = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)
builds = st.builds(
    lambda image, content, steps: Layered(image, f"{image}@{content}{steps}", content, steps),
    st.sampled_from(("base:1", "mid:1", "app:1", "base:2")), layers, st.integers(1, 3),
)  # fmt: skip


def is_under(other: Layered, build: Layered) -> bool:
    begins = build.layers[: len(other.layers)] == other.layers
    more = len(build.layers) > len(other.layers) or build.steps > other.steps
    return begins and more and other.image != build.image


@given(builds, st.lists(builds, max_size=12))
def test_the_parent_is_under_the_image_and_none_that_is_nearer_is(build: Layered, others: list[Layered]) -> None:
    found = Ancestors(others).nearest(build)
    under = [other for other in others if is_under(other, build)]
    if found is None:
        assert not under
        return
    assert found in under
    nearest = max((len(other.layers), other.steps) for other in under)
    assert (len(found.layers), found.steps) == nearest


def test_of_images_that_are_alike_that_of_the_same_stream_is_the_parent() -> None:
    alike = [Layered(f"base:{stream}", stream, ("a",), 1) for stream in ("41", "42", "latest")]
    found = Ancestors(alike).nearest(Layered("app:42", "app", ("a", "b"), 2))
    assert found is not None and found.image == "base:42"


def test_an_image_without_layers_is_nobody_s_parent() -> None:
    assert Ancestors([Layered("empty:1", "e", (), 0)]).nearest(Layered("app:1", "a", ("a",), 1)) is None
