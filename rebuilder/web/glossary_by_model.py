"""What a word of the API means in one model alone, where that is not what it means elsewhere."""

from __future__ import annotations

from typing import Any

from rebuilder.web.glossary import DIGEST, IMAGE, RPM, T

MESSAGE = "c1f6a3b2-5c1d-4a53-9a3e-0a4c4f1f7d11"
STOOD_ON = {"registry.example.com/fedora:42": DIGEST}
BUILD = "httpd-2.4.63-7"
_OVERDUE = ("Whether its build runs longer than nine of ten would.", False)
_MESSAGE = ("The message's id, by which it is asked for.", MESSAGE)
_STOOD_ON = ("External parents by pull spec, with the digests that it stands on.", STOOD_ON)
_OF_REASON = {
    "installed": ("The RPM that the current build carries, as a NEVRA; null for none.", RPM),
    "external": ("The external parent that the RPM may come from.", "registry.example.com/fedora:42"),
}
_PLATFORMS = ("How its contents are known, by platform: rpmdb, sbom, none (it has no RPMs), or why they are not.",
              {"linux/amd64": "rpmdb"})

NUANCES: dict[str, tuple[str, Any]] = {
    **{f"{model}.{word}": meaning for model in ("PlannedReason", "ToldReason", "WrittenReason")
       for word, meaning in _OF_REASON.items()},
    **{f"{model}.parents": ("The builds of its parents that it was made on.", ["fedora-42-20261127.1"])
       for model in ("BuildInFull", "ImageBuild")},
    **{f"{model}.externals": _STOOD_ON for model in ("BuildInFull", "ImageBuild", "Why")},
    **{f"{model}.kind": ("How the one needs the other: base (FROM of the last stage) or stage (another FROM, or COPY).",
                         "base") for model in ("Edge", "ExternalParent", "Parent")},
    **{f"{model}.kind": ("`rpm` where an RPM is older; `parent` where it is rebuilt as its parent is.", "rpm")
       for model in ("PlannedReason", "ToldReason", "WrittenReason")},
    **{f"{model}.platforms": _PLATFORMS for model in ("External", "ExternalInFull")},
    "BuildInFull.build_id": ("The number of the build.", 4711),
    "Calls.kind": ("What is called for.", "poll"),
    "Differences.since": ("The build before, by the name that its builder gave it.", "httpd-2.4.63-6"),
    "Drawing.externals": ("What is known of the external parents.", None),
    "Drawing.images": ("The images, parents first.", None),
    "ExternalInFull.rpms": ("Its RPMs as NEVRAs, by platform; null where they are unknown.", {"linux/amd64": [RPM]}),
    "Fix.images": ("The images that carry the package, each with how it stands.", None),
    "ImageInFull.parents": ("The images that it is built on.", None),
    "ImageInFull.source": ("Where it is built from: `git` with `ref`, or `path`.",
                           {"git": "https://example.com/httpd.git", "ref": "f42"}),
    "InWave.after": ("The images that it waits for (name:stream).", ["fedora:f42"]),
    "InWave.overdue": _OVERDUE,
    "LogChunk.attempt": ("Which of the rebuild's builds it is; null for none.", 1),
    "LogChunk.next": ("The character at which the next part begins: the `offset` of the next request.", 4096),
    "Message.id": _MESSAGE,
    "MessageInFull.id": _MESSAGE,
    "Need.count": ("How many images it is about.", 3),
    "Need.images": ("Some of the images that it is about (name:stream).", [IMAGE]),
    "Need.kind": ("engine, problem, failure, approval, gate, promotion, rollback, hold, or unknown.", "failure"),
    "Need.what": ("What it is, in one line.", "the last rebuild of 3 images failed"),
    "Node.external": ("Its parents outside the inventory.", None),
    "Notifications.newest": ("The newest of those that are set aside.", None),
    "Notifications.set_aside": ("How many the broker or their schema refuses.", 0),
    "OfEngine.verb": ("What is to be done.", "pause"),
    "Pending.change": ("The source build, as its NVR.", "openssl-3.2.6-2.fc42"),
    "Pending.waits": ("What it waits for.", "further changes"),
    "Problem.until": ("When it is tried again, in UTC; null where that is not known.", T),
    "ProblemDetails.type": ("A URI that ends with `code`: it names the kind of problem, and leads nowhere.",
                            "tag:rebuilder,2026:problem:unknown-parameter"),
    "ProblemDetails.detail": ("What is wrong, for people.", "query.sate: unknown parameter; did you mean state?"),
    "Queue.running": ("The builds that take up a slot.", None),
    "RebuildInFull.after": ("The images that it waits for (name:stream).", ["fedora:f42"]),
    "RebuildInFull.overdue": _OVERDUE,
    "Status.images": ("How many images there are of each state.", {"current": 367, "stale": 225}),
    "Status.messages": ("How many messages there are in each state.", {"accepted": 4}),
    "Status.rebuilds": ("Rebuilds that are under way, then what comes next.", None),
    "Status.updates": ("The updates, or changes that came with none, that running waves take up.", None),
    "ToGate.build": ("The build that the answer is about, by the name that its builder gave it.", BUILD),
    "ToHold.until": ("Until when, in UTC; null for until it is released.", T),
    "ToRollBack.build": ("The build to go back to; empty for the one before.", BUILD),
    "ToldRebuild.messages": ("The messages that asked for it: updates' aliases, or their ids.", [MESSAGE]),
    "UpdateUnderWay.done": ("How many images are built with it.", 45),
    "UpdateUnderWay.total": ("How many images are to be built with it.", 244),
    "UpdateUnderWay.name": ("The update's alias, or the NVR; `by hand` for what no change asked for.",
                            "FEDORA-2026-1a2b3c4d5e"),
    "UpdateUnderWay.waves": ("The numbers of the running waves that take it up.", [7]),
    "Updated.after": ("What the later build has, as a NEVRA.", "openssl-libs-1:3.2.6-2.fc42.x86_64"),
    "VerdictOnChange.parent": ("The external parent that it is about; null for none.", None),
    "Wave.rebuilds": ("Its rebuilds.", None),
    "Why.rebuilds": ("Its last rebuilds, the newest first, each with its reasons.", None),
    "WrittenPlan.rebuilds": ("What would be rebuilt, in an order that may be executed as it stands.", None),
    "Wrong.where": ("The part of the request, as where.name.", "query.sate"),
    "Wrong.what": ("What is wrong with it.", "unknown parameter; did you mean state?"),
    "WrittenRule.images": ("How many images the rule left out.", 3),
    "WrittenSkip.parent": ("The external parent that it is about.", None),
}  # fmt: skip
