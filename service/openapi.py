"""The parts of /docs.json that say what a request may hold."""

from typing import Any

from decision import PolicyDocument
from service.body import IMAGE_FIELD


def _policy_schema() -> dict[str, Any]:
    """The JSON schema of a policy, its parts in place: OpenAPI resolves references from its own root."""
    schema = PolicyDocument.model_json_schema()
    parts = schema.pop("$defs")

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
ANSWER_TEXT: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
BEARER: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer"}}
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


POLICY: dict[str, Any] = {"required": True, "content": {"application/json": {"schema": _policy_schema()}}}


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


EXPLAIN = _query("explain", {"type": "boolean"}, "Add calibrated and adjusted probabilities, thresholds and ratios.")
REASON = _query("reason", {"type": "string"}, "Kept with the revision.")
DRY_RUN = _query("dry_run", {"type": "boolean"}, "Validate and preview only.")
FORCE = _query("force", {"type": "boolean"}, "Do what the guard would stop.")
IF_MATCH: dict[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": "The ETag of GET /config: 428 without, 412 when stale.",
}
PREFER: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "wait=5: answer when every live host has the change in force, or 202 after 5 seconds.",
}
OF_A_CHANGE = [IF_MATCH, REASON, DRY_RUN, FORCE, PREFER]
OF_HISTORY = [
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}, "How many revisions."),
    _query("before", {"type": "integer", "minimum": 1}, "Older than this one."),
]
PATCH: dict[str, Any] = {
    "required": True,
    "content": {kind: {"schema": {"type": "object"}} for kind in ("application/merge-patch+json", "application/json")},
}
ROLLBACK: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["revision"],
                "properties": {"revision": {"type": "integer", "minimum": 1}},
                "additionalProperties": False,
            }
        }
    },
}
