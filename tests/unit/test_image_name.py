"""An image's name as text, and its two parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.image import Image
from rebuilder.domain.image_name import ImageName, name_of, stream_of

PARTS = st.text(st.characters(codec="ascii", exclude_characters=":"), min_size=1)


@given(PARTS, PARTS)
def test_a_name_that_is_written_is_read_back(name: str, stream: str) -> None:
    key = str(ImageName(name, stream))
    assert ImageName.of(key) == (name_of(key), stream_of(key)) == (name, stream)
    assert Image(name, stream).key == key


def test_a_text_without_a_stream_has_no_name() -> None:
    assert ImageName.of("httpd") == ("", "httpd")
