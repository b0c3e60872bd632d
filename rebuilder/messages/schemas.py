"""The schemas of bodies, and what several of them have in common."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

# Names become headers, which must fit into one frame of 128 kB; an AMQP header's name has 255 bytes.
LISTED = 100  # images, changes, and the like in one message; more are counted, not named
NAME = 200


def text(description: str, **more: Any) -> Schema:
    """A text."""
    return {"type": "string", "description": description, **more}


def maybe(description: str) -> Schema:
    """A text or null."""
    return {"type": ["string", "null"], "description": description}


def number(description: str) -> Schema:
    """A whole number."""
    return {"type": "integer", "description": description}


def some(description: str, items: Schema) -> Schema:
    """A list of LISTED items at the most."""
    return {"type": "array", "description": description, "items": items, "maxItems": LISTED}


def fields(description: str, properties: dict[str, Schema], *, null: bool = False) -> Schema:
    """An object that has all of these; further ones may come with a later release."""
    kind: Any = ["object", "null"] if null else "object"
    return {"type": kind, "description": description, "properties": properties, "required": list(properties)}


SEVERITY = text("urgent, high, medium, low or unspecified: that of the most severe change")
CHANGE: dict[str, Schema] = {
    "source": text("the source package", maxLength=NAME),
    "evr": text("its new version, with the epoch where that is known and not 0"),
    "stream": text("the stream in which it is new"),
    "severity": text("urgent, high, medium, low or unspecified"),
    "type": text("what Bodhi calls the update: security, bugfix, enhancement, newpackage; or nothing"),
    "update": maybe("the alias of the Bodhi update that brought it"),
    "url": maybe("the page of that update"),
}
RPM: dict[str, Schema] = {
    "installed": text("an RPM that the change makes stale, as NEVRA"),
    "inherited_from": maybe("the image of whose layer the RPM is; null where it is of this image's own"),
}
CAUSE: dict[str, Schema] = {
    **CHANGE,
    "rpms": some("what of it the image carries; none where it is only rebuilt because a parent is", fields("", RPM)),
}
PARENT: dict[str, Schema] = {
    "image": text("name:stream, or the pull spec of an image that is not ours"),
    "kind": text("base: the FROM of the last stage; stage: of another one, or a COPY --from"),
    "rebuild": {"type": ["integer", "null"], "description": "the rebuild of the parent that this one waited for"},
}
BUILD: dict[str, Schema] = {
    "nvr": text("the name that the builder gave to the build: an NVR in Koji, an image id in buildah"),
    "digest": maybe("its digest, where the builder told it"),
    "pull_specs": some("where it is in registries, by digest; nothing before it is pushed", text("a pull spec")),
    "parents": some("the builds that it was built on", text("as nvr")),
}
WHERE_AND_WHO: dict[str, Schema] = {
    "at": text("when it happened"),
    "url": maybe("the status page"),
    "agent": maybe("the person who canceled a rebuild, asked for it, approved the wave"),
    "users": some("all who had to do with it", text("a user name", maxLength=NAME)),
}
IMAGE: dict[str, Schema] = {
    "rebuild": number("the id of the rebuild"),
    "wave": number("the wave that it belongs to"),
    "image": text("name:stream", maxLength=NAME),
    "name": text("the image's name"),
    "stream": text("the image's stream"),
    "state": text("the state that the rebuild came into"),
    "severity": SEVERITY,
    "attempt": number("how often it was handed to the builder, this time included; 0 before the first"),
    "reason": text("why: of a failure, a stop, or a further attempt; else nothing"),
    "note": text("who asked for it and why, where no change did"),
    "causes": some("the changes that it takes up", fields("", CAUSE)),
    "parents": some("what the image is built on", fields("", PARENT)),
    "build": fields("the new build, once there is one", BUILD, null=True),
    "log": maybe("where the log of the build is: a URL, or a path on the builder's machine"),
    "timing": fields("when the rebuild was planned, begun and ended", {
        "created": text("when it was planned"),
        "started": maybe("when the last attempt was handed to the builder"),
        "ended": maybe("when it came to an end"),
    }),
    **WHERE_AND_WHO,
}  # fmt: skip
PUSHED: dict[str, Schema] = {
    **IMAGE,
    "names": some("the pull specs by tag that point to the build from now on", text("a pull spec")),
}
ROLLED_BACK: dict[str, Schema] = {
    "image": text("name:stream", maxLength=NAME),
    "name": text("the image's name"),
    "stream": text("the image's stream"),
    "reason": text("why, in the operator's words"),
    "bad": fields("the build that was taken back", BUILD),
    "build": fields("the earlier build that is current again", BUILD),
    "names": some("the pull specs by tag that go back to it", text("a pull spec")),
    "built_on_bad": some("images that are built on the bad build still", text("name:stream", maxLength=NAME)),
    **WHERE_AND_WHO,
}
WAVE: dict[str, Schema] = {
    "wave": number("the id of the wave"),
    "state": text("planned: it waits for an operator's approval; running; finished"),
    "rule": text("the rules of the policy that want it to be approved; else nothing"),
    "severity": SEVERITY,
    "changes": some("the changes that it takes up; the first of them", fields("", CHANGE)),
    "rebuilds": number("how many rebuilds it has"),
    "images": some("what it rebuilds, parents first; the first of them", text("name:stream", maxLength=NAME)),
    **WHERE_AND_WHO,
}
PLANNED: dict[str, Schema] = {
    **WAVE,
    "created": text("when it was made"),
}
FINISHED: dict[str, Schema] = {
    **PLANNED,
    "counts": {"type": "object", "description": "how many rebuilds ended in each state"},
    "stopped": some("the images that were not rebuilt: failed, blocked or canceled; the first of them", fields("", {
        "image": text("name:stream", maxLength=NAME),
        "state": text("how its rebuild ended"),
        "reason": text("why"),
    })),
}  # fmt: skip


def version_1(topic: str, properties: dict[str, Schema]) -> Schema:
    """The schema of a body."""
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "id": f"urn:fedora:message-schema:{topic}.v1",
        **fields(f"The body of {topic}", properties),
    }
