"""Pull specs by digest, and the files that tools of deployment read them from."""

from __future__ import annotations

import pytest

from rebuilder.domain.deployment import Deployable, as_compose, as_kustomize, by_digest
from rebuilder.domain.errors import RequestError

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(("tags", "digest", "expected"), [
    ((), "", ()),
    ((), ONE, ()),  # a build that is in no registry has a digest, and no place
    (("r.example.com/team/app:f42",), "", ()),
    (("r.example.com/team/app:f42", "r.example.com/team/app:f42-1"), ONE, (f"r.example.com/team/app@{ONE}",)),
    ((f"r.example.com/app@{ONE}", "r.example.com/app:1"), TWO, (f"r.example.com/app@{ONE}",)),
    (("a:5000/app:1", "b.example.com/app:1", f"b.example.com/app@{ONE}", f"a:5000/app@{ONE}"), ONE,
     (f"a:5000/app@{ONE}", f"b.example.com/app@{ONE}")),
    (("a.example.com/app:1", f"b.example.com/app@{TWO}"), ONE,
     (f"a.example.com/app@{ONE}", f"b.example.com/app@{TWO}")),
])  # fmt: skip
def test_each_repository_of_a_build_has_one_pull_spec_by_digest(
    tags: tuple[str, ...], digest: str, expected: tuple[str, ...]
) -> None:
    assert by_digest(tags, digest) == expected


def test_a_compose_file_has_a_service_for_each_image_in_a_registry() -> None:
    found = [Deployable("app:f42", (f"a.example.com/app@{ONE}", f"b.example.com/app@{ONE}")), Deployable("new:f42", ())]
    assert as_compose(found) == {"services": {"app": {"image": f"a.example.com/app@{ONE}"}}}


def test_a_component_of_kustomize_sets_the_digest_of_every_repository() -> None:
    found = [Deployable("app:f42", (f"a:5000/x/app@{ONE}", f"b.example.com/app@{ONE}")), Deployable("new:f42", ())]
    assert as_kustomize(found)["images"] == [
        {"name": "a:5000/x/app", "digest": ONE}, {"name": "b.example.com/app", "digest": ONE},
    ]  # fmt: skip


@pytest.mark.parametrize("write", [as_compose, as_kustomize])
def test_an_image_in_two_streams_is_never_one_of_them_by_chance(write: object) -> None:
    found = [Deployable(f"app:{stream}", (f"a.example.com/app@{ONE}",)) for stream in ("f42", "f43")]
    with pytest.raises(RequestError, match=r"both app:f42 and app:f43.*--stream"):
        write(found)  # type: ignore[operator]
