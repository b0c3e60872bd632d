"""The genuine message of a Bodhi update, made with bodhi-messages' own class."""

from __future__ import annotations

from typing import Any

from bodhi.messages.schemas.update import UpdateCompleteStableV1

from rebuilder.demo.images import NEW

ALIAS = "FEDORA-2026-0dc5e5b1ac"


def update() -> Any:
    """The update that brings the new openssl into F42's stable repository."""
    return UpdateCompleteStableV1(
        body={
            "agent": "bodhi",
            "update": {
                "alias": ALIAS,
                "title": f"{NEW.source}-{NEW.version}-{NEW.release}",
                "url": f"https://bodhi.fedoraproject.org/updates/{ALIAS}",
                "type": "security",
                "severity": "urgent",
                "content_type": "rpm",
                "status": "stable",
                "request": None,
                "user": {"name": "security-response"},
                "release": {"name": "F42", "branch": "f42", "dist_tag": "f42", "stable_tag": "f42-updates"},
                "builds": [{"nvr": f"{NEW.source}-{NEW.version}-{NEW.release}", "epoch": 0}],
            },
        }
    )
