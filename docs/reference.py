"""The reference, made from the code: configuration, command line, HTTP API and metrics, each as a page of Markdown."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from rebuilder.cli import manual, rebuilder
from rebuilder.config import Settings
from rebuilder.store import database
from rebuilder.web.app import create_app
from rebuilder.web.metrics import registry_of

Json = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Each page by its path in the site."""
    with tempfile.TemporaryDirectory() as folder:
        engine = database.ready(f"sqlite:///{folder}/empty.db")
        try:
            http = create_app(engine, Settings()).openapi()
            families = list(registry_of(engine, Settings(), None).collect())
        finally:
            engine.dispose()
    return {
        "reference/configuration.md": _lines(configuration(Settings)),
        "reference/command-line.md": _lines(command_line()),
        "reference/http.md": _lines(http_api(http)),
        "reference/metrics.md": _lines(metrics(families)),
    }


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(text: str) -> str:
    """The text with its bars kept from ending the cell; within code they do not."""
    parts = text.split("`")
    return "`".join(part if at % 2 else part.replace("|", "\\|") for at, part in enumerate(parts))


def configuration(settings: type[BaseModel]) -> Iterator[str]:
    """Every table of `[consumer_config]`, with its keys, their types and defaults."""
    schema = settings.model_json_schema()
    yield from ("# Configuration", "", "One TOML file, which is fedora-messaging's own; rebuilder's tables begin with")
    yield from ("`consumer_config`. An unknown key, or a wrong value, is an error that names it.", "")
    yield from _model(schema, "consumer_config", schema["$defs"])


def _model(model: Json, path: str, models: Json) -> Iterator[str]:
    yield from (f"## `[{path}]`", "", *str(model.get("description", "")).split("\n"), "")
    tables: list[tuple[str, Json]] = []
    rows: list[tuple[str, str, str]] = []
    for key, found in model.get("properties", {}).items():
        inner = _inner(found)
        if inner is None:
            default = json.dumps(found["default"]) if found.get("default") is not None else ""
            rows.append((f"`{key}`", _type(found), f"`{default}`" if default else ""))
            continue
        where = f"{path}.{key}{'.NAME' if 'additionalProperties' in found else ''}"
        tables.append((f"[{where}]" if found.get("type") == "array" else where, models[inner]))
    yield from _table(("key", "type", "default"), rows)
    for where, table in tables:
        yield from _model(table, where, models)


def _inner(found: Json) -> str | None:
    """The model of a key that is a table, a list of tables, or a table of tables."""
    candidates = [found, found.get("items", {}), found.get("additionalProperties", {}), *found.get("allOf", ())]
    refs = [inner["$ref"] for inner in candidates if isinstance(inner, dict) and "$ref" in inner]
    name = refs[0].rpartition("/")[2] if refs else None
    return name if name is not None and (name.endswith("Settings") or name == "OsbsOverrides") else None


def _type(found: Json) -> str:
    if "enum" in found:
        return ", ".join(f"`{value}`" for value in found["enum"])
    if "const" in found:
        return f"`{found['const']}`"
    if "anyOf" in found:
        return " or ".join(_type(one) for one in found["anyOf"] if one.get("type") != "null")
    if "$ref" in found:
        return str(found["$ref"].rpartition("/")[2]).lower()
    if found.get("type") == "array":
        return f"list of {_type(found.get('items', {}))}"
    return {"string": "text", "object": "table"}.get(str(found.get("type", "any")), str(found.get("type", "any")))


def command_line() -> Iterator[str]:
    """Every verb with its options."""
    yield from ("# Command line", "", "The same is in the manual pages (`rebuilder manual FOLDER`).", "")
    yield from _table(("exit status", "meaning"), manual.STATUS)
    yield from _table(("variable", "meaning"), [(f"`{name}`", meaning) for name, meaning in manual.ENVIRONMENT])
    for page in manual.walk(rebuilder):
        yield from (f"## `{page.path}`", "", f"`{page.path} {page.usage}`", "")
        yield from (line for paragraph in page.text for line in (paragraph, ""))
        if page.options:
            yield from _table(("option", "meaning"), [(f"`{word}`", meaning) for word, meaning in page.options])


def http_api(description: Json) -> Iterator[str]:
    """Every path of the API with its parameters."""
    yield from ("# HTTP API", "", str(description["info"].get("description", "")), "")
    yield from ("The whole description, with the answers' schemas, is at `/api/v1/openapi.json`.", "")
    for path, methods in description["paths"].items():
        for method, found in methods.items():
            yield from (f"## `{method.upper()} {path}`", "", found.get("description") or found.get("summary", ""), "")
            parameters = found.get("parameters", ())
            if parameters:
                rows = [(f"`{one['name']}`", one["in"], one.get("description", "")) for one in parameters]
                yield from _table(("parameter", "in", "meaning"), rows)


def metrics(families: Iterable[Any]) -> Iterator[str]:
    """Every metric with its type and labels."""
    yield from ("# Metrics", "", "At `/metrics`, in Prometheus' format. The queues of the broker are there where one")
    yield from ("is configured: `rebuilder_broker_up`, `rebuilder_queue_messages` and `rebuilder_queue_consumers`.", "")
    yield from _table(("metric", "type", "labels", "meaning"), (_metric(family) for family in families))


def _metric(family: Any) -> tuple[str, str, str, str]:
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"`{name}`", family.type, ", ".join(f"`{label}`" for label in sorted(labels)), family.documentation
