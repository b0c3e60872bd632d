"""The description of the API (OpenAPI), as one wants to generate a client from."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from pydantic.json_schema import models_json_schema

from rebuilder.queries.events import RebuildEvent
from rebuilder.web.glossary import MEANINGS, PARAMETERS
from rebuilder.web.glossary_by_model import NUANCES
from rebuilder.web.problems import MODELS, ProblemDetails

SILENT: tuple[str, Any] = ("", None)


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """The description with what its models do not say themselves: events and errors, meanings and examples."""
    models = schema["components"]["schemas"]
    models |= _models_of_no_route()
    examples = _Examples(models)
    for model, content in models.items():
        for name, part in content.get("properties", {}).items():
            _complete(part, examples.meaning(model, name)[0], examples.of(model, name, part))
    for operations in schema["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                description, example = PARAMETERS.get(parameter["name"], SILENT)
                parameter.setdefault("description", description)
                _complete(parameter["schema"], parameter["description"], examples.fitting(parameter["schema"], example))
    return schema


def _models_of_no_route() -> dict[str, Any]:
    """What is told in events, and of errors."""
    added: list[Any] = [(RebuildEvent, "serialization"), (ProblemDetails, "serialization")]
    _, made = models_json_schema(added, ref_template=f"{MODELS}{{model}}")
    return dict(made["$defs"])


def _complete(schema: dict[str, Any], description: str, example: Any) -> None:
    if description:
        schema.setdefault("description", description)
    if example is not None:
        schema.setdefault("examples", [example])


class _Examples(Struct, frozen=True):
    """Examples of the properties of these models."""

    models: dict[str, Any]

    def meaning(self, model: str, name: str) -> tuple[str, Any]:
        return NUANCES.get(f"{model}.{name}") or MEANINGS.get(name, SILENT)

    def of(self, model: str, name: str, schema: dict[str, Any]) -> Any:
        """An example of a property; None where none is known."""
        if "examples" in schema:
            return schema["examples"][0]
        return self.fitting(schema, self.meaning(model, name)[1])

    def fitting(self, schema: dict[str, Any], example: Any) -> Any:
        """The example as the schema wants it: as a list, or made of what the parts of an answer have."""
        if "const" in schema:
            return schema["const"]
        if "anyOf" in schema:
            return self.fitting(schema["anyOf"][0], example)
        if schema.get("type") == "array":
            many = example if isinstance(example, list) and example else [example or None]
            return [self.fitting(schema["items"], one) for one in many]
        return self._made(schema) if example is None else example

    def _made(self, schema: dict[str, Any]) -> Any:
        if "$ref" not in schema:
            return schema.get("default", schema.get("enum", [None])[0])
        model = schema["$ref"].removeprefix(MODELS)
        properties = self.models[model].get("properties", {})
        return {name: self.of(model, name, part) for name, part in properties.items()}
