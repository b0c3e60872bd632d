"""What rebuilder says on the message bus: one class for each topic.

For everybody who reads these messages: it needs fedora-messaging, and nothing else of rebuilder. A change of a schema
that could break a reader makes a new class, and the old one stays. Moments are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import Any, ClassVar

from fedora_messaging import message
from fedora_messaging.message import DEBUG, ERROR, INFO, WARNING

from rebuilder.domain.wording import few
from rebuilder.messages.schemas import FINISHED, IMAGE, PLANNED, PUSHED, ROLLED_BACK, version_1
from rebuilder.messages.schemas import LISTED as LISTED  # those who read our messages ask for it here


def _build_of(change: dict[str, Any]) -> str:
    """A change of a body in words."""
    return f"{change['source']}-{change['evr']}"


class RebuilderMessage(message.Message):
    """What all messages of rebuilder have in common."""

    @property
    def app_name(self) -> str:
        """The name of this service, as notifications have it."""
        return "rebuilder"

    @property
    def app_icon(self) -> str:
        return "https://apps.fedoraproject.org/img/icons/rebuilder.png"

    @property
    def url(self) -> str | None:
        """The status page of the image or the wave, where the sender has one."""
        url: str | None = self.body["url"]
        return url

    @property
    def agent_name(self) -> str | None:
        """Who did it, where somebody did."""
        agent: str | None = self.body["agent"]
        return agent

    @property
    def usernames(self) -> list[str]:
        """The Fedora accounts that it concerns, sorted."""
        return sorted(self.body["users"])

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes that caused it."""
        return list(self.body["changes"])

    @property
    def packages(self) -> list[str]:
        """The source packages that caused it."""
        return sorted({change["source"] for change in self.changes})

    @property
    def images(self) -> list[str]:
        """The images that it is about, as name:stream."""
        return list(self.body["images"])

    @property
    def containers(self) -> list[str]:
        """The images, each with and without its stream: rules for what somebody owns know the name alone."""
        return sorted({name for image in self.images for name in (image, image.rpartition(":")[0])})

    def _told(self) -> list[str]:
        """The changes, one a line, each with its update."""
        lines = []
        for change in self.changes:
            update = " ".join(filter(None, (change["update"], change["url"])))
            lines.append(f"  {_build_of(change)} ({change['severity']}) {update}".rstrip())
        return lines

    def _lines(self) -> list[str]:
        """What there is to say beside the summary."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n".join([self.summary, *self._lines(), *([self.url] if self.url else [])])


class ImageMessage(RebuilderMessage):
    """A rebuild of an image came into a state."""

    words: ClassVar[str]

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes that caused it."""
        return list(self.body["causes"])

    @property
    def images(self) -> list[str]:
        """The image that it tells of."""
        return [self.body["image"]]

    @property
    def summary(self) -> str:
        """What happened, in one line."""
        cause = f" for {few(map(_build_of, self.changes))}" if self.changes else ""
        why = f": {self.body['reason']}" if self.body["reason"] else ""
        return f"{self.body['image']} {self.words}{cause} (wave {self.body['wave']}){why}"

    def _lines(self) -> list[str]:
        body = self.body
        lines = ["Changes:", *self._told()] if self.changes else []
        lines += [f"Wanted {body['note']}"] if body["note"] else []
        lines += [f"Built on: {', '.join(parent['image'] for parent in body['parents'])}"] if body["parents"] else []
        lines += [f"Build: {body['build']['nvr']}"] if body["build"] else []
        lines += [f"Attempt: {body['attempt']}"] if body["attempt"] else []
        lines += [f"Log: {body['log']}"] if body["log"] else []
        return lines


class ImageQueuedV1(ImageMessage):
    """A rebuild may start, and waits for a slot: its parents are done, or an attempt that was lost is repeated."""

    topic = "rebuilder.image.queued"
    severity = DEBUG
    words = "waits to be rebuilt"
    body_schema = version_1(topic, IMAGE)


class ImageBuildingV1(ImageMessage):
    """The builder has the build."""

    topic = "rebuilder.image.building"
    severity = DEBUG
    words = "is being rebuilt"
    body_schema = version_1(topic, IMAGE)


class ImageTestingV1(ImageMessage):
    """The image was rebuilt, and the changes are in it; its test, or the gate that it waits for, has not answered."""

    topic = "rebuilder.image.testing"
    severity = DEBUG
    words = "is being tested"
    body_schema = version_1(topic, IMAGE)


class ImageSucceededV1(ImageMessage):
    """The image was rebuilt, the changes are in it, and its tests, where it has any, have passed."""

    topic = "rebuilder.image.succeeded"
    severity = INFO
    words = "was rebuilt"
    body_schema = version_1(topic, IMAGE)


class ImageFailedV1(ImageMessage):
    """The build failed, a change is not in it (`not-updated`), or a test of it failed (`tests failed`).

    What is built on the image is blocked.
    """

    topic = "rebuilder.image.failed"
    severity = ERROR
    words = "could not be rebuilt"
    body_schema = version_1(topic, IMAGE)


class ImageBlockedV1(ImageMessage):
    """The image is not rebuilt because one that it is built on was not."""

    topic = "rebuilder.image.blocked"
    severity = WARNING
    words = "is blocked"
    body_schema = version_1(topic, IMAGE)


class ImageCanceledV1(ImageMessage):
    """An operator stopped the rebuild."""

    topic = "rebuilder.image.canceled"
    severity = WARNING
    words = "is not rebuilt"
    body_schema = version_1(topic, IMAGE)


class ImageUnneededV1(ImageMessage):
    """The image need not be rebuilt any more: what would have caused it went away."""

    topic = "rebuilder.image.unneeded"
    severity = INFO
    words = "need not be rebuilt"
    body_schema = version_1(topic, IMAGE)


class ImagePushedV1(ImageMessage):
    """A proven build is in registries, under these names; `build.pull_specs` says where it is by digest.

    It may come several times for a build: once it has the names that never move, and when tags move to it. A builder
    that pushes itself, as OSBS or Koji, has done so before the rebuild succeeded.
    """

    topic = "rebuilder.image.pushed"
    severity = INFO
    words = "was pushed"
    body_schema = version_1(topic, PUSHED)

    @property
    def pull_specs(self) -> list[str]:
        """Where it is, by digest."""
        return list(self.body["build"]["pull_specs"])

    def _lines(self) -> list[str]:
        names = [f"Pull: {spec}" for spec in self.pull_specs] + [f"Name: {name}" for name in self.body["names"]]
        return [*super()._lines(), *names]


class ImageRolledBackV1(RebuilderMessage):
    """An operator took a build back: the names of the image go back to an earlier one, and the image is on hold.

    `rebuilder.image.pushed` tells when the names have moved.
    """

    topic = "rebuilder.image.rolled-back"
    severity = WARNING
    body_schema = version_1(topic, ROLLED_BACK)

    @property
    def changes(self) -> list[dict[str, Any]]:
        """None: an operator asked for it."""
        return []

    @property
    def images(self) -> list[str]:
        """The image that it tells of."""
        return [self.body["image"]]

    @property
    def summary(self) -> str:
        """What happened, in one line."""
        body = self.body
        return f"{body['image']} was rolled back from {body['bad']['nvr']} to {body['build']['nvr']}: {body['reason']}"

    def _lines(self) -> list[str]:
        lines = [f"Pull: {spec}" for spec in self.body["build"]["pull_specs"]]
        built_on = ", ".join(self.body["built_on_bad"])
        return [*lines, *([f"Built on the bad build still: {built_on}"] if built_on else [])]


class WaveMessage(RebuilderMessage):
    """Something about a whole set of rebuilds."""

    @property
    def summary(self) -> str:
        """What happened, in one line."""
        cause = f" for {few(map(_build_of, self.changes))}" if self.changes else ""
        return f"wave {self.body['wave']}{cause} {self._words()}"

    def _words(self) -> str:
        raise NotImplementedError

    def _lines(self) -> list[str]:
        lines = ["Changes:", *self._told()] if self.changes else []
        return [*lines, f"Images: {', '.join(self.images)}"] if self.images else lines


class WavePlannedV1(WaveMessage):
    """A wave of rebuilds begins; or, in the state `planned`, waits for an operator's approval and has none yet."""

    topic = "rebuilder.wave.planned"
    severity = INFO
    body_schema = version_1(topic, PLANNED)

    def _words(self) -> str:
        if self.body["state"] == "planned":
            return f"waits for approval ({self.body['rule']})"
        return f"rebuilds {self.body['rebuilds']} image{'' if self.body['rebuilds'] == 1 else 's'}"


class WaveFinishedV1(WaveMessage):
    """Nothing of the wave is open any more. Its severity is WARNING where not all of it succeeded."""

    topic = "rebuilder.wave.finished"
    severity = INFO
    body_schema = version_1(topic, FINISHED)

    def _words(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.body["counts"].items()))
        return f"is finished: {counts or 'nothing was to be done'}"

    def _lines(self) -> list[str]:
        stopped = [f"  {rebuild['image']} {rebuild['state']}: {rebuild['reason']}" for rebuild in self.body["stopped"]]
        return [*super()._lines(), *(["Not rebuilt:", *stopped] if stopped else [])]


CLASSES: dict[str, type[RebuilderMessage]] = {
    message.topic: message
    for message in (
        WavePlannedV1, WaveFinishedV1, ImageQueuedV1, ImageBuildingV1, ImageTestingV1,
        ImageSucceededV1, ImageFailedV1, ImageBlockedV1, ImageCanceledV1, ImageUnneededV1, ImagePushedV1,
        ImageRolledBackV1,
    )
}  # fmt: skip
