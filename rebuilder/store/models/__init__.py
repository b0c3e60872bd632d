"""The tables. Times are seconds since the epoch (UTC).

The constraints carry promises: a message counts once, one live build per image, one build waiting behind it.
"""

from rebuilder.store.models.base import Base, aliased, tables_of
from rebuilder.store.models.bus import Change, DeadLetter, Message, Outbox
from rebuilder.store.models.images import (
    ExternalImage,
    ExternalManifest,
    Image,
    ImageBuild,
    ImageParent,
    Manifest,
    ManifestRpm,
    ReadManifest,
    Rpm,
    Stream,
)
from rebuilder.store.models.operators import Action, Heartbeat, Hold, Lease, Pause, Tally, Token
from rebuilder.store.models.rebuilds import (
    BaseCause,
    Cancellation,
    Cause,
    Delivery,
    GateAnswer,
    Rebuild,
    RebuildEdge,
    Transition,
    Verdict,
    Wave,
    WaveChange,
    WavePin,
)
from rebuilder.store.models.rollbacks import Rollback, RollbackRequest

__all__ = [
    "Action", "Base", "BaseCause", "Cancellation", "Cause", "Change", "DeadLetter", "Delivery", "ExternalImage",
    "ExternalManifest", "GateAnswer", "Heartbeat", "Hold", "Image", "ImageBuild", "ImageParent", "Lease", "Manifest",
    "ManifestRpm", "Message", "Outbox", "Pause", "ReadManifest", "Rebuild", "RebuildEdge", "Rollback",
    "RollbackRequest", "Rpm", "Stream", "Tally", "Token", "Transition", "Verdict", "Wave", "WaveChange", "WavePin",
    "aliased", "tables_of",
]  # fmt: skip
