"""README says what is there: every setting, metric, route, method and network, and nothing that is not."""

import json
import re
from pathlib import Path
from typing import get_args

from decision import parse_policy
from decision.policy import RuleDocument
from service.answer_schema import Answer
from service.families import FAMILIES
from service.openapi import IMAGE
from training.commands import DATA
from training.methods import METHODS
from training.networks import NETWORKS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def source(package: str) -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / package).glob("*.py")))


def test_every_setting() -> None:
    read = set(re.findall(r'"(EQUIPOISE_[A-Z_]+)"', source("service")))
    passed_to_workers = {"EQUIPOISE_URL", "EQUIPOISE_WORKERS"}
    assert set(re.findall(r"`(EQUIPOISE_[A-Z_]+)`", README)) == read - passed_to_workers


def test_every_metric() -> None:
    made = set(re.findall(r'"(equipoise_[a-z_]+)"', source("service"))) | {family.name for family in FAMILIES}
    assert set(re.findall(r"`(equipoise_[a-z_]+)", (ROOT / "docs" / "metrics.md").read_text())) == made


def test_every_route() -> None:
    from service.routes import create_app

    served = set(create_app().openapi()["paths"]) | {"/docs", "/docs.json"}
    named = set(re.findall(r"`(?:GET |PUT |PATCH |POST )?(/[a-z0-9{}./-]+)`", README))
    assert named == served - {"/healthz"}  # BentoML's older name of /livez


def test_every_rule() -> None:
    kinds = {parse_policy(json.loads(f'{{"rule": {rule}}}')).rule.kind for rule in re.findall(r"\| `(.*?)` \|", README)
             if rule.startswith("{")}  # fmt: skip
    assert kinds == {rule.model_fields["kind"].annotation.__args__[0] for rule in get_args(RuleDocument)}


def test_every_method_and_network() -> None:
    for name in [*METHODS, *NETWORKS]:
        assert f"`{name}`" in README


def test_every_image_format_is_documented_in_the_api() -> None:
    kinds = {kind.removeprefix("image/") for kind in IMAGE["content"] if kind.startswith("image/")}
    assert kinds == {"png", "jpeg", "webp", "tiff", "bmp", "gif"}
    for kind in kinds:
        assert kind in README.lower()


def test_the_curl_s_answer_has_the_form_of_an_answer() -> None:
    shown = json.loads(README.split("```json\n", 1)[1].split("```", 1)[0])
    answer = Answer.model_validate(shown)
    assert answer.model_dump() == shown
    assert answer.label == "7"


def test_links_lead_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
        for module in re.findall(r"python -m (benchmarks\.\w+)", page.read_text()):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_no_page_has_a_place_that_is_still_to_be_filled_in() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *(ROOT / "docs").glob("*.md")):
        assert re.findall(r"^[A-Z]+(?:_[A-Z]+)+$", page.read_text(), re.MULTILINE) == [], page.name


def test_the_help_names_every_source_of_data() -> None:
    for name in ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100"):
        assert name in DATA
        assert f"`{name}`" in README
