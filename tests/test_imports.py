"""The arrows of the house: training → decision ← service, deploy → decision, and what each may use."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "decision": {"decision", "numpy", "scipy"},
    "training": {"training", "decision", "numpy", "scipy", "torch", "torchvision", "lightning_fabric", "sklearn",
                 "imblearn", "onnx", "onnxruntime", "matplotlib", "PIL", "psutil", "rich"},
    "service": {"service", "decision", "numpy", "bentoml", "onnxruntime", "fastapi", "starlette", "pydantic",
                "prometheus_client", "sqlalchemy", "orjson", "python_multipart", "httpx"},
    "deploy": {"deploy", "decision", "yaml", "grafana_foundation_sdk"},
}  # fmt: skip
BESIDES = {
    "decision/images.py": {"PIL"},
    "decision/bundle.py": {"pydantic"},
    "decision/policy.py": {"pydantic"},
    "service/arbiter.py": {"circus"},
    "service/drain.py": {"uvicorn"},
    "service/tracing.py": {"opentelemetry"},
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


def reversed_arrows(root: Path) -> list[str]:
    """`file imports module` for each import that the house does not allow."""
    return [
        f"{path.relative_to(root).as_posix()} imports {module}"
        for package, allowed in ALLOWED.items()
        for path in sorted((root / package).rglob("*.py"))
        for module in imported(path)
        if (top := module.split(".")[0]) not in sys.stdlib_module_names
        and top not in allowed | BESIDES.get(path.relative_to(root).as_posix(), set())
    ]


def test_imports_run_one_way() -> None:
    assert reversed_arrows(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("decision/policy.py", "import torch"),
        ("decision/rules.py", "import service.store"),
        ("decision/arrays.py", "from training.splits import split"),
        ("decision/arrays.py", "from PIL import Image"),
        ("training/splits.py", "from service.settings import Settings"),
        ("service/network.py", "import training"),
        ("deploy/drift.py", "from service.families import FAMILIES"),
        ("service/store.py", "def late():\n    from training.export import onnx_logits"),
    ],
)
def test_a_reversed_arrow_is_found(tmp_path: Path, file: str, line: str) -> None:
    for package in ALLOWED:
        (tmp_path / package).mkdir()
    (tmp_path / file).write_text((ROOT / file).read_text() + f"\n{line}\n")

    found = reversed_arrows(tmp_path)

    assert len(found) == 1
    assert found[0].startswith(f"{file} imports ")
