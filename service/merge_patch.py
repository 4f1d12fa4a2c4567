"""JSON merge patches (RFC 7396) of a policy document."""

from typing import Any


def patched(document: dict[str, Any], patch: Any) -> Any:
    """The document with a patch; one that changes the rule's kind replaces the rule whole."""
    if isinstance(patch, dict) and isinstance(rule := patch.get("rule"), dict):
        before = document.get("rule", {})
        if rule.get("kind", before.get("kind")) != before.get("kind"):
            document = document | {"rule": {}}
    return merged(document, patch)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2: null takes a member away, an object goes on below, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
