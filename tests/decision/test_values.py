"""Everything decision/ hands out is a frozen value."""

import dataclasses
import importlib
import pkgutil

import decision


def test_every_dataclass_is_frozen() -> None:
    seen = 0
    for module in pkgutil.iter_modules(decision.__path__, "decision."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__.startswith("decision"):
                assert value.__dataclass_params__.frozen, value  # type: ignore[attr-defined]
                arrays = any("ndarray" in str(field.type) for field in dataclasses.fields(value))
                assert not (arrays and value.__dataclass_params__.eq), f"{value} == would be an array"  # type: ignore[attr-defined]
                seen += 1
    assert seen > 20
