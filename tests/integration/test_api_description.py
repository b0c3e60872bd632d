"""The description of the API, tried out by schemathesis: by what it allows and what it forbids, nothing answers 500."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis.errors import Unsatisfiable
from integration.workbench import BASH, CHAIN, Workbench, image
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import Engine
from support import databases
from support.api_client import Client
from support.examples import examples

from rebuilder.store import tokens
from rebuilder.web.app import create_app

EXAMPLES = 15
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture
def benches(tmp_path: Path, postgres: Engine) -> Iterator[list[Workbench]]:
    """The same in a database of each kind."""
    sqlite = databases.sqlite(tmp_path / "test.db")
    yield [bench_on(store) for store in (sqlite, postgres)]
    sqlite.dispose()


def bench_on(store: Engine) -> Workbench:
    """Something of everything, also an image of which nothing is known."""
    found = Workbench(store, (*CHAIN, image("plain", rpms=(BASH,)), image("blind", rpms=None)),
                      simulated={"failures": ["mid:f42"]})
    found.tell("openssl-3.2.2-1.fc42", severity="high")
    found.finish()
    return found


def operations(app: FastAPI) -> Iterator[APIOperation]:
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    found = (result.ok() for result in schema.get_all_operations())
    endless = "/api/v1/events"  # has tests of its own; health says 503 where ill
    return (operation for operation in found if operation.path.startswith("/api/") and operation.path != endless)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_nothing_answers_500(benches: list[Workbench], mode: GenerationMode) -> None:
    """Each request is made on both databases: to think of one takes longer than to answer it."""
    apps = {create_app(bench.store, bench.settings): token_on(bench) for bench in benches}
    tried = set()
    for operation in operations(next(iter(apps))):
        try:
            try_out(operation.as_strategy(generation_mode=mode), apps)
            tried.add(operation.path)
        except Unsatisfiable:  # nothing that could be sent is forbidden
            assert mode is GenerationMode.NEGATIVE
    assert len(tried) > 15


def token_on(bench: Workbench) -> str:
    with bench.store.begin() as connection:
        return tokens.add(connection, "schemathesis", ("all",), 0.0)


def try_out(strategy, apps):  # type: ignore[no-untyped-def]
    @examples(EXAMPLES, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(case=strategy)
    def each(case: schemathesis.Case) -> None:
        for app, token in apps.items():
            case.call_and_validate(app=app, checks=CHECKS, headers={"Authorization": f"Bearer {token}"})

    each()


def test_a_client_can_be_generated_that_reads_well(store: Engine) -> None:
    """Operations have short names; each property and parameter says what it means, with an example."""
    schema = Client(store).reads("openapi.json")
    operations = [operation for verbs in schema["paths"].values() for operation in verbs.values()]
    names = [operation["operationId"] for operation in operations]
    assert {"list_images", "list_rebuilds", "read_wave", "read_status", "stream_events", "act"} <= set(names)
    assert len(names) == len(set(names))
    described = {f"{model}.{name}": found for model, content in schema["components"]["schemas"].items()
                 for name, found in content.get("properties", {}).items()
                 if model not in ("ValidationError", "HTTPValidationError")}
    assert len(described) > 200
    assert [name for name, found in described.items() if not found.get("description")] == []
    assert [name for name, found in described.items() if not {"example", "examples", "const"} & found.keys()] == []
    parameters = {f"{operation['operationId']}.{found['name']}": found
                  for operation in operations for found in operation.get("parameters", ())}
    assert [name for name, found in parameters.items() if not found.get("description")] == []
    assert [name for name, found in parameters.items() if "examples" not in found["schema"]] == []


def test_each_example_is_what_the_schema_allows(store: Engine) -> None:
    schema = Client(store).reads("openapi.json")
    models = schema["components"]["schemas"]
    described = {f"{model}.{name}": found for model, content in models.items()
                 for name, found in content.get("properties", {}).items()}
    described |= {f"{operation['operationId']}.{found['name']}": found["schema"] for verbs in schema["paths"].values()
                  for operation in verbs.values() for found in operation.get("parameters", ())}
    for name, found in described.items():
        validator = Draft202012Validator({**found, "components": schema["components"]})
        for example in found.get("examples", ()):
            assert [error.message for error in validator.iter_errors(example)] == [], name


def test_an_event_and_a_problem_are_models_of_their_own_and_no_name_is_taken_twice(store: Engine) -> None:
    """A generator makes one class of each; models that are written out in each answer have no name."""
    schema = Client(store).reads("openapi.json")
    models, events = schema["components"]["schemas"], schema["paths"]["/api/v1/events"]["get"]["responses"]["200"]
    item = events["content"]["text/event-stream"]["itemSchema"]["properties"]
    assert item["data"]["contentSchema"] == {"$ref": "#/components/schemas/RebuildEvent"}
    assert models["RebuildEvent"]["properties"]["at"]["format"] == "date-time"
    problems = [answer["content"]["application/problem+json"]["schema"] for verbs in schema["paths"].values()
                for operation in verbs.values() for answer in operation["responses"].values()
                if "application/problem+json" in answer.get("content", {})]
    assert len(problems) > 100
    assert {tuple(problem.items()) for problem in problems} == {(("$ref", "#/components/schemas/ProblemDetails"),)}
    assert [name for name in models if name.endswith(("-Input", "-Output"))] == []


@pytest.mark.parametrize(("path", "code"), [
    ("waves/99", "not-found"), ("rebuilds?sate=x", "unknown-parameter"), ("rebuilds?limit=0", "invalid-parameter"),
    ("coverage/x", "invalid-request"),
])
def test_a_problem_has_a_type_with_a_stable_code(store: Engine, path: str, code: str) -> None:
    told = Client(store).get(path).json()
    assert (told["code"], told["type"]) == (code, f"tag:rebuilder,2026:problem:{code}")
