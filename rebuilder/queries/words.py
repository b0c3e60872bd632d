"""Why an image is left out, in words: the same on a terminal and on a page."""

from __future__ import annotations

from rebuilder.domain.impact import Skip

LEFT_OUT = {
    Skip.ALREADY_CURRENT: "already current",
    Skip.OTHER_MODULE: "its RPM and the update are not of the same module",
    Skip.OTHER_STREAM: "of another stream",
    Skip.DROPPED: "the update has no such RPM any more",
    Skip.UNKNOWN: "its contents are unknown",
    Skip.POLICY: "left out by the policy's rule {by}",
    Skip.WITHDRAWN: "it was withdrawn",
    Skip.HELD: "held by {by}",
    Skip.WAITS_FOR_PARENT: "a rebuild cannot bring it in: it waits for its parent {by}, which still has the old RPM",
    Skip.PINNED_PARENT: "no rebuild can bring it in before somebody changes the digest in its source: {by}",
    Skip.PARENT_LEFT_OUT: "it would be built on the old {by}, which is left out",
}
