import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.comparisons import CURVE, HOSTILE, METHODS, Page, made, with_metric
from training.compare_page import render
from training.comparison import BASELINE, Cell, Comparison


@pytest.fixture(scope="module")
def page() -> str:
    return render(made())


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def test_every_section_is_there_in_order(page: str) -> None:
    ids = [attributes["id"] for attributes in Page(page).all("section")]
    assert ids == ["verdict", "table", "roc", "precision-recall", "recalls", "confusion", "counts", "learning",
                   "definitions"]  # fmt: skip
    links = [attributes["href"] for attributes in Page(page).all("a")]
    assert links == [f"#{name}" for name in ids]


def test_what_is_chosen_at_first_is_what_is_shown(page: str) -> None:
    boxes = re.findall(r'<input type="checkbox" value="(\d+)"( checked)?>', page)
    shown = re.findall(r'<figure class="(m\d+(?: off)?)"><figcaption>', page)
    assert set(shown) == {f"m{i}" if checked else f"m{i} off" for i, checked in boxes}
    assert len(boxes) == len(METHODS)
    assert sum(bool(checked) for _, checked in boxes) == 6


def test_names_are_text_wherever_they_stand() -> None:
    facts = dict(zip(HOSTILE, HOSTILE, strict=True)) | {"data": HOSTILE[0], "sources": {HOSTILE[0]: HOSTILE[1]}}
    comparison = made(HOSTILE, (BASELINE, *HOSTILE), facts=facts | {"missing": {HOSTILE[0]: HOSTILE[2]}})
    curve = tuple({**row, "phase": HOSTILE[2]} for row in CURVE)
    drawn = {HOSTILE[1]: dict.fromkeys(HOSTILE, 1.0)}
    cells = tuple(replace(cell, curve=curve, drawn=drawn) for cell in comparison.cells[1:])
    text = render(replace(comparison, cells=cells))
    page = Page(text)
    assert len(page.all("script")) == 2
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for name in HOSTILE:
        assert page.text().count(name) >= 5
    assert data_of(text)["best"]


def test_nothing_is_loaded_and_only_our_script_may_run(page: str) -> None:
    for _, attributes in Page(page).elements:
        for name in ("src", "href"):
            assert re.match(r"#|data:image/png;base64,", attributes.get(name) or "#")
    assert not re.search(r"@import|url\(|https?://", page)
    (policy,) = [a["content"] for a in Page(page).all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy


def test_equal_comparisons_give_equal_pages(page: str) -> None:
    assert render(made()) == page


def exact(cell: Cell) -> Cell:
    return replace(cell, probabilities=np.eye(cell.probabilities.shape[1])[cell.probabilities.argmax(axis=1)])


@pytest.mark.parametrize(
    "comparison",
    [
        made(seeds=(7,)),
        made(2),
        made(100, METHODS[:2], seeds=(0,)),
        made(methods=(BASELINE,)),
        made(methods=("focal",), seeds=(3,)),
        replace(made(), cells=made().cells[2:-3]),
        replace(made(), cells=()),
        replace(made(), cells=tuple(replace(cell, curve=()) for cell in made().cells)),
        replace(made(), cells=tuple(replace(cell, drawn={}) for cell in made().cells)),
        replace(made(), cells=tuple(map(exact, made().cells))),
        replace(made(), cells=tuple(replace(c, labels=np.zeros_like(c.labels)) for c in made().cells)),
        with_metric(made(), dict.fromkeys(METHODS, (math.nan,) * 3), "balanced_accuracy"),
        replace(made(), counts={"class 000": 10}),
    ],
    ids=["one seed", "two classes", "100 classes", "baseline alone", "one cell", "missing cells", "no cells",
         "no curve", "nothing drawn", "probabilities of 0 and 1", "one class in test", "no metric",
         "classes without images"],
)  # fmt: skip
def test_a_page_comes_of_every_comparison(comparison: Comparison) -> None:
    text = render(comparison)
    assert len(Page(text).all("section")) == 9
    assert not re.search(r'[" ]-?(nan|inf)\b', "".join(re.findall(r"<(?:path|text|svg|image) [^>]*>", text)))
    assert ">nan" not in text


def test_a_page_of_25_methods_and_12_classes_is_below_three_megabytes() -> None:
    methods = (BASELINE, *(f"some-long-method-name:dial={i}" for i in range(24)))
    rows = tuple({**CURVE[0], "epoch": e, "train_loss": 1 / e, "calibrate_loss": 1.1 / e} for e in range(1, 201))
    comparison = made([f"a class with a rather long name, {i}" for i in range(12)], methods, n=1000)
    comparison = replace(comparison, cells=tuple(replace(cell, curve=rows) for cell in comparison.cells))
    page = render(comparison)
    assert len(data_of(page)["roc"]["y"]) == 13, "all classes have their curves"
    assert len(page.encode()) < 3_000_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to look at the page with")
def test_the_script_runs_in_a_browser_under_the_content_policy(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page)
    run = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1280,900",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert '<details class="methods" open="">' in run.stdout, "the last thing that the script does"
    assert "CONSOLE" not in run.stderr
