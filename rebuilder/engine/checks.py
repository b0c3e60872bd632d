"""Which tests and gates the builds of an image have to pass: what the image says itself, else its stream."""

from __future__ import annotations

from rebuilder.config import Settings, StreamSettings
from rebuilder.domain.checks import Checks, ImageTest
from rebuilder.domain.image import Care
from rebuilder.domain.image_name import stream_of

NOTHING = StreamSettings()


def checks_of(image: str, care: Care, settings: Settings) -> Checks:
    """What is asked of the builds of that image (name:stream), with what is said of it for those who look after it."""
    stream = settings.streams.get(stream_of(image), NOTHING)
    return Checks(_test(care, stream), care.gate or stream.gate or bool(stream.gate_test))


def _test(care: Care, stream: StreamSettings) -> ImageTest | None:
    own = bool(care.test or care.test_script)
    command = care.test if own else stream.test
    script = care.test_script if own else str(stream.test_script or "")
    if not (command or script):
        return None
    seconds = care.test_timeout or stream.test_timeout
    return ImageTest(command, script, seconds, care.test_network or stream.test_network)
