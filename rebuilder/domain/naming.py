"""Which image, stream, owner or key is meant by a name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.image_name import name_of

SHOWN = 3


def meant(text: str, keys: Collection[str]) -> str:
    """The image (name:stream) of these that is meant by that, or by its name alone where that is in one stream.

    Raises RequestError where the name is in several streams, and UnknownError where it is in none.
    """
    if text in keys:
        return text
    named = sorted(key for key in keys if name_of(key) == text)
    if len(named) == 1:
        return named[0]
    if named:
        raise RequestError(f"{text} is in {len(named)} streams: use {' or '.join(named[:SHOWN])}")
    raise UnknownError(f"unknown image {text}{_nearest_images(text, keys)}")


def no_image_fits(pattern: str, keys: Collection[str]) -> str:
    """That a glob or an expression fits none of these images, and which may be meant."""
    return f"no image matches {pattern}{_nearest_images(pattern, keys)}"


def unknown_stream(stream: str, streams: Collection[str]) -> str:
    """That there is no such stream, and which there are."""
    return f"unknown stream {stream}{did_you_mean(stream, streams) or there_are(streams)}"


def did_you_mean(word: str, choices: Collection[str], most: int = SHOWN) -> str:
    """Those that are called nearly like that, or begin so, as a question; "" where there is none."""
    begin = sorted(one for one in choices if word and one.startswith(word))[:most]
    return _question(get_close_matches(word, sorted(choices), most) or begin)


def there_are(choices: Collection[str]) -> str:
    """All that there are, as the end of a sentence."""
    return f"; there are: {', '.join(sorted(choices))}" if choices else "; there are none"


def _nearest_images(text: str, keys: Collection[str]) -> str:
    """The images that are called nearly like that, whatever their streams, as a question; "" where there is none."""
    close = get_close_matches(text, keys, SHOWN)
    if not close and ":" not in text:
        names = {name_of(key): key for key in keys}
        close = [names[name] for name in get_close_matches(text, names, SHOWN)]
    return _question(close)


def _question(close: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(close)}?" if close else ""
