import re
from dataclasses import replace

from tests.training.comparisons import METHODS, Page, made, with_metric
from training.compare_metrics import metrics
from training.compare_view import View
from training.comparison import BASELINE, RULES, Comparison
from training.estimates import COLUMNS


def page_of(comparison: Comparison) -> str:
    return metrics(View(comparison))


def row_of(page: str, rule: str, method: str) -> dict[str, str]:
    """The cells of a row of the large table, as HTML, by column."""
    part = page[page.index(f"<b>{rule}</b> {RULES[rule]}</span></th></tr>") :]
    row = re.search(rf'<tr><th scope="row" data-v="\d+">{method}.*?</tr>', part)[0]
    return dict(zip((column.name for column in COLUMNS), re.findall(r"<td.*?</td>", row), strict=True))


def test_the_table_has_means_errors_bests_and_shades() -> None:
    falling = {"baseline": (0.5, 0.6, 0.7), "oversample": (0.4, 0.501, 0.6), "focal": (0.6, 0.7, 0.801)}
    comparison = with_metric(made(methods=METHODS[:3]), falling, "nll_reweighted")
    page = page_of(comparison)
    for rule in RULES:
        cells = {m: row_of(page, rule, m)["nll_reweighted"] for m in METHODS[:3]}
        error = "<small>±0.058</small></td>"
        assert cells["baseline"] == f'<td data-v="0.6">0.600 {error}'
        assert cells["oversample"] == f'<td class="up" data-v="0.500333"><i>▲ </i><b>0.500</b> {error}'
        assert cells["focal"] == f'<td class="down" data-v="0.700333"><i>▼ </i>0.700 {error}'


def test_seconds_are_a_cost_that_is_never_shaded() -> None:
    comparison = made(methods=METHODS[:3])
    slow = tuple(replace(c, seconds=c.seconds * (1 if c.method == BASELINE else 10)) for c in comparison.cells)
    page = page_of(replace(comparison, cells=slow))
    for rule in RULES:
        cells = {m: row_of(page, rule, m)["seconds"] for m in METHODS[:3]}
        assert cells[BASELINE] == '<td data-v="61"><b>61.0</b> <small>±0.6</small></td>'
        assert cells["focal"] == '<td data-v="610">610.0 <small>±5.8</small></td>'


def test_with_two_seeds_nothing_is_shaded_and_with_one_there_is_no_error() -> None:
    two, one = (page_of(made(seeds=seeds)) for seeds in ((0, 1), (0,)))
    for page in (two, one):
        assert not re.search(r'<td class="(up|down)"', page)
        assert "nothing is shaded" in page
    assert "<small>±" in two
    assert "<small>±" not in one


def test_a_method_that_misses_seeds_says_so_and_one_without_any_has_no_numbers() -> None:
    whole = made(methods=METHODS[:3])
    some = tuple(c for c in whole.cells if c.method != "oversample" and (c.method, c.seed) != ("focal", 1))
    page = page_of(replace(whole, cells=some))
    assert "focal 2 of 3 seeds" in Page(page).text()
    assert "oversample 0 of 3 seeds" in Page(page).text()
    assert set(row_of(page, "priors", "oversample").values()) == {"<td>–</td>"}


def test_each_corruption_has_a_column_of_its_own() -> None:
    (detail,) = re.findall(r"<details>.*</details>", page_of(made()))
    assert re.findall(r"<button>(.*?)</button>", detail) == ["method", "noise", "blur", "brightness"]
    comparison = made()
    bare = tuple(replace(c, metrics={rule: {"accuracy": 0.5} for rule in RULES}) for c in comparison.cells)
    assert "<details>" not in page_of(replace(comparison, cells=bare))
