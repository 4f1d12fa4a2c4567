"""The parts of /docs.json that say what a request may hold."""

from typing import Any

from pydantic import BaseModel

from decision import PolicyDocument
from service.body import IMAGE_FIELD
from service.feedback_schemas import LabelDocument, LabelsDocument
from service.inference_schemas import InferenceRequestDocument
from service.limits import DRAWN_DAYS, LARGEST_REVISION, LONGEST_WINDOW, MOST_DRAWN, MOST_LISTED, OBSERVED_DAYS
from service.schemas import Rollback


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a document, its parts in place: OpenAPI resolves references from its own root."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inlined(parts[value["$ref"].rsplit("/", 1)[-1]])
        return {key: inlined(item) for key, item in value.items() if key != "discriminator"}

    whole: dict[str, Any] = inlined(schema)
    return whole


_FILE = {"type": "string", "format": "binary"}
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp", "image/gif")

IMAGE: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [IMAGE_FIELD], "properties": {IMAGE_FIELD: _FILE}}
        },
        **{kind: {"schema": _FILE} for kind in (*_IMAGE_TYPES, "application/octet-stream")},
    },
}
IMAGES: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {"images": {"type": "array", "items": _FILE}},
            }
        }
    },
}
MAY_NEED_TOKEN: list[dict[str, list[str]]] = [{}, {"bearer": []}]
NEEDS_TOKEN: list[dict[str, list[str]]] = [{"bearer": []}]
PROBLEM: dict[str, Any] = {
    "description": "A problem (RFC 9457).",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["pointer", "detail"],
                            "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                        },
                    },
                },
            }
        }
    },
}


POLICY: dict[str, Any] = {"required": True, "content": {"application/json": {"schema": _schema(PolicyDocument)}}}


def _parameter(
    where: str, name: str, schema: dict[str, Any], description: str, required: bool = False
) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "schema": schema, "description": description}


def of_path(*names: str) -> list[dict[str, Any]]:
    """The parameters of a path."""
    return [_parameter("path", name, {"type": "string"}, f"The model's {name}.", required=True) for name in names]


_SWITCH, _TEXT = {"type": "boolean"}, {"type": "string"}
EXPLAIN = _parameter("query", "explain", _SWITCH, "Add calibrated and adjusted probabilities, thresholds and ratios.")
WINDOW = _parameter("query", "window", _TEXT, f"How far back, like 1h or 24h, {LONGEST_WINDOW // 86_400}d at most.")
OF_A_CHANGE = [
    _parameter("header", "If-Match", _TEXT, "The ETag of GET /config: 428 without, 412 when stale.", required=True),
    _parameter("query", "reason", _TEXT, "Kept with the revision."),
    _parameter("query", "dry_run", _SWITCH, "Validate and preview only."),
    _parameter("query", "force", _SWITCH, "Do what the guard would stop."),
    _parameter("header", "Prefer", _TEXT,
               "wait=5: answer when every live host has the change in force, or 202 after 5 seconds."),
]  # fmt: skip
OF_HISTORY = [
    _parameter("query", "limit", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}, "How many revisions."),
    _parameter("query", "before", {"type": "integer", "minimum": 1, "maximum": LARGEST_REVISION}, "Older than this."),
]
PATCH: dict[str, Any] = {
    "required": True,
    "content": {kind: {"schema": {"type": "object"}} for kind in ("application/merge-patch+json", "application/json")},
}
ROLLBACK: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": Rollback.model_json_schema()}},
}
LABELS: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"anyOf": [_schema(LabelsDocument), _schema(LabelDocument)]}}},
}
OF_A_SAMPLE = [
    _parameter("query", "n", {"type": "integer", "minimum": 1, "maximum": MOST_DRAWN}, "About how many new ids."),
    _parameter("query", "design", {"type": "string", "enum": ["random", "stratified"]},
               "stratified expects as many answers of each class as of any other."),
    _parameter("query", "window", _TEXT, f"How far back, like 24h, {DRAWN_DAYS}d at most."),
]  # fmt: skip
OF_QUALITY = [
    _parameter("query", "window", _TEXT, f"How far back, like 7d, {OBSERVED_DAYS}d at most."),
    _parameter("query", "by", {"type": "string", "enum": ["revision", "day"]}, "A cohort for each."),
]
INFERENCE: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": _schema(InferenceRequestDocument)},
        "application/octet-stream": {"schema": _FILE},
    },
}
