from tests.training.comparisons import Page, made
from training.compare_head import definitions, head, title
from training.compare_view import View
from training.comparison import RULES
from training.estimates import COLUMNS


def test_the_head_says_what_was_compared() -> None:
    text = Page(head(View(made()))).text()
    assert "8 methods × 3 seeds, each decided by 3 rules and judged on 200 test images of 3 classes." in text
    assert "Train has 1,833 images, 1,000 of the most frequent class and 333 of the rarest: ρ = 3.003" in text
    assert "network small" in text
    assert text.startswith("Remedies for class imbalance on made-up ")


def test_facts_that_say_nothing_are_left_out() -> None:
    facts = {"data": None, "a": "", "b": "None", "c": [], "missing": "x", "sources": "y", "epochs": 1000}
    assert title(made(facts=facts)) == "Remedies for class imbalance"
    page = Page(head(View(made(facts=facts))))
    assert page.text("dt") == "epochs"
    assert page.text("dd") == "1,000"


def test_many_classes_are_listed_on_a_tap_only() -> None:
    opened = {k: "open" in Page(head(View(made(k, ("baseline",), (0,))))).all("details")[0] for k in (30, 31)}
    assert opened == {30: True, 31: False}


def test_a_class_without_images_leaves_rho_undefined() -> None:
    comparison = made(facts={"data": "d"})
    comparison.counts.pop("class 002")
    assert "ρ is not finite" in Page(head(View(comparison))).text()


def test_every_column_and_rule_is_defined_and_every_source_named() -> None:
    facts = {"sources": {"focal": "Lin et al. 2017"}, "machine": "8 cores", "commit": "abc", "data": "d"}
    page = Page(definitions(View(made(facts=facts))))
    terms = [column.head for column in COLUMNS] + [f"rule {rule}" for rule in RULES] + ["±", "shaded", "ρ", "focal"]
    assert page.text("dt") == " ".join(terms)
    for meaning in (*(column.meaning for column in COLUMNS), *RULES.values(), "Lin et al. 2017"):
        assert meaning in page.text("dd")
    assert page.text("p") == "seeds 0, 1, 2; machine 8 cores; commit abc."
