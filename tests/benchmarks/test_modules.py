"""Benchmarks run seldom: what they take from elsewhere is still there."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXTRAS = {"benchmarks.certificate_peers", "benchmarks.certificates", "benchmarks.mutation"}  # of the extra `benchmarks`
PEERS = ROOT / "benchmarks" / "serving" / "peers"  # each runs in an environment of its own
STARTED = {"benchmarks.serving.bare", "benchmarks.serving.fast", "benchmarks.serving.quickstart"}  # with a model named


def modules() -> list[str]:
    paths = (path for path in (ROOT / "benchmarks").rglob("*.py") if PEERS not in path.parents)
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted({name.removesuffix(".__init__") for name in names} - EXTRAS - STARTED)


@pytest.mark.parametrize("name", modules())
def test_a_benchmark_can_be_loaded(name: str) -> None:
    importlib.import_module(name)
