"""Koji's messages: tags, repositories and builds of the primary instance."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from consumers.fields import Fields
from rebuilder.domain.change import AvailableBuild, BuildFinished, BuildUntagged, Event, Ignored, RepoDone

PRIMARY = "primary"
COMPLETE = 1
DRAFT = re.compile(r".*,draft_\d+")  # a release: the build may become a real one, with a release of its own
IMAGE_METHODS = frozenset({"buildContainer", "image", "imageBuilderBuild", "kiwiBuild", "osbuildImage"})


def tagged(body: Any) -> tuple[Event, ...]:
    """A build came into a tag: it can be installed once the tag's repository is made anew. Raises InvalidMessage."""
    fields = Fields(body)
    if ignored := of_another_instance(fields) or of_a_draft(fields):
        return (ignored,)
    tag = fields.text("tag")
    return (AvailableBuild(fields.build(), koji_tag=tag, waits_for_repo=tag),)


def untagged(body: Any) -> tuple[Event, ...]:
    """A build was taken out of a tag. Raises InvalidMessage."""
    fields = Fields(body)
    if ignored := of_another_instance(fields) or of_a_draft(fields):
        return (ignored,)
    return (BuildUntagged(fields.build(), fields.text("tag")),)


def repo_done(body: Any) -> tuple[Event, ...]:
    """A tag's repository was made anew. Raises InvalidMessage."""
    fields = Fields(body)
    if foreign := of_another_instance(fields):
        return (foreign,)
    return (RepoDone(fields.text("tag")),)


def build_changed(body: Any) -> tuple[Event, ...]:
    """A build changed its state; only COMPLETE is of interest. Raises InvalidMessage."""
    fields = Fields(body)
    if ignored := of_another_instance(fields) or of_a_draft(fields):
        return (ignored,)
    state = fields.number("new")
    if state != COMPLETE:
        return (Ignored(f"a build in state {state}, which is not COMPLETE"),)
    build = fields.build()
    build = replace(build, evr=replace(build.evr, epoch=fields.epoch()))
    return (BuildFinished(build, fields.optional_number("task_id"), is_container(fields)),)


def is_container(fields: Fields) -> bool:
    """Whether the build's task builds images; a build without a task (an import) is taken for an RPM's."""
    task = fields.optional_inner("task")
    return task is not None and task.optional_text("method") in IMAGE_METHODS


def of_another_instance(fields: Fields) -> Ignored | None:
    """Secondary instances have tags and builds of the same names; a message that names none is the primary's."""
    instance = fields.optional_text("instance") or PRIMARY
    return None if instance == PRIMARY else Ignored(f"Koji instance {instance}, not {PRIMARY}")


def of_a_draft(fields: Fields) -> Ignored | None:
    """Why a draft build is of no interest: it is available once it is promoted, under its final release."""
    release = fields.optional_text("release")
    if not DRAFT.fullmatch(release):
        return None
    return Ignored(f"a draft build: {fields.optional_text('name')}-{fields.optional_text('version')}-{release}")
