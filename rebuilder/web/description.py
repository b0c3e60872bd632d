"""The description of the API (OpenAPI), as one wants to generate a client from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from rebuilder.queries.events import RebuildEvent
from rebuilder.web.glossary import MEANINGS, PARAMETERS
from rebuilder.web.nuances import NUANCES
from rebuilder.web.problems import MODELS, ProblemDetails

SILENT: tuple[str, Any] = ("", None)


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """The description with what its models do not say themselves: events and errors, meanings and examples."""
    models = schema["components"]["schemas"]
    models |= _models_of_no_route()
    examples = _Examples(models)
    for model, content in models.items():
        for name, found in content.get("properties", {}).items():
            _complete(found, examples.meaning(model, name)[0], examples.of(model, name, found))
    for operations in schema["paths"].values():
        for operation in operations.values():
            for found in operation.get("parameters", ()):
                description, example = PARAMETERS.get(found["name"], SILENT)
                found.setdefault("description", description)
                _complete(found["schema"], found["description"], examples.fitting(found["schema"], example))
    return schema


def _models_of_no_route() -> dict[str, Any]:
    """What is told in events, and of errors."""
    added: list[Any] = [(RebuildEvent, "serialization"), (ProblemDetails, "serialization")]
    _, made = models_json_schema(added, ref_template=f"{MODELS}{{model}}")
    return dict(made["$defs"])


def _complete(found: dict[str, Any], description: str, example: Any) -> None:
    if description:
        found.setdefault("description", description)
    if example is not None:
        found.setdefault("examples", [example])


@dataclass(frozen=True, slots=True)
class _Examples:
    """Examples of the properties of these models."""

    models: dict[str, Any]

    def meaning(self, model: str, name: str) -> tuple[str, Any]:
        return NUANCES.get(f"{model}.{name}") or MEANINGS.get(name, SILENT)

    def of(self, model: str, name: str, found: dict[str, Any]) -> Any:
        """An example of a property; None where none is known."""
        if "examples" in found:
            return found["examples"][0]
        return self.fitting(found, self.meaning(model, name)[1])

    def fitting(self, found: dict[str, Any], example: Any) -> Any:
        """The example as the schema wants it: as a list, or made of what the parts of an answer have."""
        if "const" in found:
            return found["const"]
        if "anyOf" in found:
            return self.fitting(found["anyOf"][0], example)
        if found.get("type") == "array":
            many = example if isinstance(example, list) and example else [example or None]
            return [self.fitting(found["items"], one) for one in many]
        return self._made(found) if example is None else example

    def _made(self, found: dict[str, Any]) -> Any:
        if "$ref" not in found:
            return found.get("default", found.get("enum", [None])[0])
        model = found["$ref"].removeprefix(MODELS)
        properties = self.models[model].get("properties", {})
        return {name: self.of(model, name, part) for name, part in properties.items()}
