"""An image may be named without its stream where that is unambiguous; an unknown one gets a question back."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.users import User

DOCUMENT = """\
version: 1
streams: {f41: {dist: .fc41}, f42: {dist: .fc42}}
images:
  - {name: base, stream: f42, rpms: [&old {nevra: "openssl-libs-1:3.2.1-1.fc42.x86_64", source: openssl}]}
  - {name: base, stream: f41, rpms: []}
  - {name: httpd, stream: f42, parents: [base], rpms: [*old]}
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    made = User(tmp_path_factory.mktemp("naming"))
    (made.folder / "inventory.yaml").write_text(DOCUMENT)
    assert made.types("inventory", "sync").returncode == 0
    return made


ASKING = [
    ("inventory", "show"), ("why",), ("why", "--update", "openssl-3.2.2-1.fc42"), ("log",), ("hold",), ("release",),
    ("retry",), ("cancel",), ("graph", "--image"), ("rebuild",),
]  # fmt: skip


@pytest.mark.parametrize("verb", ASKING, ids=" ".join)
def test_a_name_alone_is_enough_where_it_is_in_one_stream(user: User, verb: tuple[str, ...]) -> None:
    alone, whole = user.types(*verb, "httpd"), user.types(*verb, "httpd:f42")
    assert alone.returncode == whole.returncode
    assert "unknown" not in alone.stderr + whole.stderr
    if verb[0] not in ("hold", "release"):  # which say whether that was so already
        assert alone.stdout == whole.stdout


@pytest.mark.parametrize("verb", ASKING, ids=" ".join)
@pytest.mark.parametrize(("name", "told"), [
    ("base", "base is in 2 streams: use base:f41 or base:f42"),
    ("htpd", "unknown image htpd; did you mean httpd:f42?"),
    ("httpd:f43", "unknown image httpd:f43; did you mean httpd:f42?"),
    ("zebra", "unknown image zebra"),
])  # fmt: skip
def test_what_is_not_one_image_is_one_line(user: User, verb: tuple[str, ...], name: str, told: str) -> None:
    assert user.is_refused(*verb, name) == f"rebuilder: {told}"


def test_a_document_s_images_too(user: User, tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text(DOCUMENT)
    asked = "graph", "--inventory", str(tmp_path / "images.yaml"), "--image"
    assert "httpd:f42" in user.types(*asked, "httpd").stdout
    assert user.is_refused(*asked, "htpd").endswith("did you mean httpd:f42?")
