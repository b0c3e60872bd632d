"""Typed settings, from `[consumer_config]` of fedora-messaging's own configuration file."""

from __future__ import annotations

from rebuilder.config.builders import (
    BUILDERS,
    BuildahSettings,
    BuilderSettings,
    KojiSettings,
    OsbsOverrides,
    OsbsSettings,
    OsbsStreamSettings,
    PluginSettings,
    SimulatedSettings,
)
from rebuilder.config.images import SOURCES, InventorySettings, SourceSettings, StreamSettings
from rebuilder.config.policy import RuleSettings
from rebuilder.config.reading import faults, first_fault, load, settings_of
from rebuilder.config.registry import RegistrySettings
from rebuilder.config.services import (
    CallSettings,
    LogSettings,
    NotifySettings,
    ReconcileSettings,
    RetentionSettings,
    TraceSettings,
    WebSettings,
)
from rebuilder.config.settings import Settings
from rebuilder.config.table import OneOrMore, StrictModel, child_environment, own_folder, state_directory

__all__ = [
    "BUILDERS",
    "SOURCES",
    "BuildahSettings",
    "BuilderSettings",
    "CallSettings",
    "InventorySettings",
    "KojiSettings",
    "LogSettings",
    "NotifySettings",
    "OneOrMore",
    "OsbsOverrides",
    "OsbsSettings",
    "OsbsStreamSettings",
    "PluginSettings",
    "ReconcileSettings",
    "RegistrySettings",
    "RetentionSettings",
    "RuleSettings",
    "Settings",
    "SimulatedSettings",
    "SourceSettings",
    "StreamSettings",
    "StrictModel",
    "TraceSettings",
    "WebSettings",
    "child_environment",
    "faults",
    "first_fault",
    "load",
    "own_folder",
    "settings_of",
    "state_directory",
]
