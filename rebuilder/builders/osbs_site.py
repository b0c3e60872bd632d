"""What of a site keeps every build from being made, as far as the configuration shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rebuilder.builders import osbs_template
from rebuilder.config import OsbsSettings, StreamSettings, own_folder, state_directory

Finding = tuple[str, str]  # what was looked at, and what is wrong with it; empty where nothing is


def findings(
    settings: OsbsSettings, streams: Mapping[str, StreamSettings], configuration: Any, limits: tuple[int, int] | None
) -> Iterator[Finding]:
    """All that can be said without asking the cluster. `configuration` is osbs-client's, `limits` default and most."""
    place = f"{settings.file} [{settings.section}] or consumer_config.osbs.overrides"
    yield f"osbs.conf {settings.file}", _file(settings, configuration)
    yield "openshift_url", _url(configuration.get_openshift_base_uri(), place)
    yield "credentials", _credentials(settings, configuration, place)
    yield "verify_ssl", _flag(configuration.scp.get(settings.section, "verify_ssl", fallback="true"))
    yield "pipeline_run_path", _template(settings, configuration, place, limited=limits is not None)
    yield "configuration map", _map(settings, streams, configuration, place)
    yield f"user {settings.user}", _quoted(settings.user)
    yield "repositories", _quoted(*settings.yum_repourls, settings.signing_intent)
    for name, stream in streams.items():
        yield f"stream {name}", _quoted(stream.koji_target, *(stream.osbs.yum_repourls or ()))
    yield "logs", _folder(settings.logs)
    if limits is not None:
        default, most = limits
        over = f"the default, {default} s, is over the most, {most} s: set default_buildtime_limit lower"
        none = "they must be above 0 s: set default_buildtime_limit and max_buildtime_limit"
        yield "limits of a build", none if min(default, most) <= 0 else over if default > most else ""


def _file(settings: OsbsSettings, configuration: Any) -> str:
    if not settings.file.is_file():
        missing = "no such file: set consumer_config.osbs.file"
        return "" if settings.overrides.openshift_url else missing
    if fault := _unreadable(settings.file):
        return fault
    sections = configuration.scp.sections()
    if settings.section in sections:
        return ""
    return f"it has no section {settings.section}: set consumer_config.osbs.section to one of {', '.join(sections)}"


def _url(url: object, place: str) -> str:
    if not url:
        return f"it is not set: set it in {place}"
    return "" if urlsplit(str(url)).scheme in ("http", "https") else f"{url} has no scheme: write https://…"


def _credentials(settings: OsbsSettings, configuration: Any, place: str) -> str:
    """The client asks without any where it has none, and the cluster answers each request with 403."""
    for file in _secrets(settings, configuration):
        if fault := _unreadable(file):  # of a token's file the client would send the name
            return fault
    try:
        token = configuration.get_oauth2_token()
    except UnicodeDecodeError:
        return f"the token is not text: renew it in {place}"
    if token is not None:
        return "" if token.strip() else f"the token is empty: renew it in {place}"
    others = (
        configuration.get_username() and configuration.get_password(),
        configuration.get_client_cert() and configuration.get_client_key(),
        configuration.get_use_kerberos(),
        configuration.get_use_auth() is False,
    )
    return "" if any(others) else f"there are none: set token_file in {place}"


def _secrets(settings: OsbsSettings, configuration: Any) -> Iterator[Path]:
    """The files that the credentials are in."""
    overrides = settings.overrides
    named = [overrides.token_file, overrides.client_cert, overrides.client_key]
    if not (overrides.token or overrides.token_file):
        named.append(configuration.scp.get(settings.section, "token_file", fallback=None))
    return (Path(file) for file in named if file)


def _unreadable(file: Path) -> str:
    try:
        file.open().close()
    except FileNotFoundError:
        return f"{file}: no such file"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    return ""


def _template(settings: OsbsSettings, configuration: Any, place: str, *, limited: bool) -> str:
    path = configuration.get_pipeline_run_path()
    if not path:
        return f"it is not set: set it in {place}"
    return template_fault(path, limited=limited)


def _map(settings: OsbsSettings, streams: Mapping[str, StreamSettings], configuration: Any, place: str) -> str:
    """A build, scratch or not, needs the map that its template names."""
    path = configuration.get_pipeline_run_path()
    if not path or template_fields(path).isdisjoint({osbs_template.CONFIG_MAP}):
        return ""
    own = {stream.osbs.scratch for stream in streams.values()}
    maps = {
        True: ("reactor_config_map_scratch", configuration.get_reactor_config_map_scratch()),
        False: ("reactor_config_map", configuration.get_reactor_config_map()),
    }
    for scratch in {settings.scratch if value is None else value for value in own or {None}}:
        key, name = maps[scratch]
        if not name:
            return f"{path} names it, and {key} is not set in {place}: osbs-client would send the text None"
    return ""


def template_fields(path: str) -> frozenset[str]:
    """The fields of the template in this file, which can be read."""
    return osbs_template.fields_of(Path(path).read_text(encoding="utf-8"))


def _quoted(*texts: str) -> str:
    """The template has the parameters between apostrophes."""
    wrong = [text for text in texts if "'" in text]
    return f"{wrong[0]} has an apostrophe, which breaks the template: write it without" if wrong else ""


def _flag(text: str) -> str:
    valid = text.strip().lower() in ("true", "false", "0", "1")
    return "" if valid else f"{text} is neither true nor false: osbs-client would take it for false"


def _folder(folder: Path | None) -> str:
    place = folder or state_directory() / "osbs"
    try:
        own_folder(place)
    except OSError as error:
        return f"{place} cannot be made: {error.strerror}: set consumer_config.osbs.logs"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written into"


def template_fault(path: str, *, limited: bool) -> str:
    """What keeps every run of the template in this file from being made; empty where nothing does."""
    try:
        fault = osbs_template.fault_of(Path(path).read_text(encoding="utf-8"), limited=limited)
    except FileNotFoundError:
        fault = "no such file"
    except (OSError, ValueError) as error:
        fault = f"it cannot be read: {error}"
    return f"{path}: {fault}" if fault else ""
