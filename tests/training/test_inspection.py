import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier

from decision import NotCertifiable, certify
from tests.conftest import noise, png
from training.advice import ADVICE
from training.attainable import CONFIDENCE, best_recall, targets
from training.dataset import Dataset, load_dataset
from training.duplicates import Duplicates
from training.encoded import Paths
from training.errors import DataError
from training.findings import Advice, Findings, Inspection
from training.imbalance import Imbalance
from training.inspection import as_text, inspect
from training.pairs import KINDS, Count, Pairs
from training.rarity import ClassSizes, size_of
from training.splits import split

STEP = Imbalance("step", rho=10)


def dataset(sizes: list[int], part: Callable[[int], str] = lambda i: "train", related: int = 1) -> Dataset:
    """Images of noise; `part` of the i-th image of its class; `related` images of a class in a row are a group."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    place = np.concatenate([np.arange(n) for n in sizes])
    _, groups = np.unique(np.stack([labels, place // related]), axis=1, return_inverse=True)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 1), dtype=np.uint8)
    return Dataset("made", tuple(f"c{k}" for k in range(len(sizes))), images, labels, groups.reshape(-1),
                   np.array([part(i) for i in place]))  # fmt: skip


def advice(inspection: Inspection) -> str:
    return " ".join(a.advice for a in inspection.advice)


@pytest.fixture(scope="module")
def digits() -> Inspection:
    with np.errstate(all="raise", under="ignore"):
        return inspect(load_dataset("digits"), STEP, 3)


def test_it_sees_the_data_as_a_run_would(digits: Inspection) -> None:
    data, f = load_dataset("digits"), digits.findings
    splits = split(data, STEP, 3)
    counts = splits.counts(data)
    for c in f.classes:
        assert c.splits == {name: table[c.name] for name, table in counts.items()}
        assert c.train == counts["train"][c.name]
        assert c.parts == {"train": int((data.labels == int(c.name)).sum())}
    sizes = np.array(list(counts["train"].values()))
    assert f.rho == sizes.max() / sizes.min()
    assert (f.mu, f.train) == (0.5, sizes.sum())
    assert [c.minority for c in f.classes] == [c.size == "few" for c in f.classes] == [k > 4 for k in range(10)]


def test_the_majority_share_is_the_accuracy_of_the_constant_answer() -> None:
    data = dataset([60, 400, 90], lambda i: "test" if i < 30 else "train")
    splits, f = split(data, None, 0), inspect(data, None, 0).findings
    constant = DummyClassifier().fit(np.zeros((len(splits.train), 1)), data.labels[splits.train])
    for rows, share in ((splits.train, f.majority_share), (splits.test, f.majority_share_test)):
        assert constant.score(np.zeros((len(rows), 1)), data.labels[rows]) == pytest.approx(share)
    assert f.majority == "c1"


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(2, 500), st.integers(1, 50))
def test_a_step_has_its_rho_and_mu(n_classes: int, mu: float, rho: int, smallest: int) -> None:
    profile = Imbalance("step", rho=rho, mu=mu).profile(n_classes)
    counts = np.rint(profile * rho * smallest).astype(np.int64)
    sizes = ClassSizes(np.random.default_rng(0).permutation(counts))
    assert sizes.rho == rho
    assert sizes.mu == np.clip(round(mu * n_classes), 1, n_classes - 1) / n_classes
    assert sizes.minority.tolist() == (sizes.counts == smallest).tolist()


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=20).filter(any))
def test_the_figures_of_any_profile_follow_from_their_definitions(counts: list[int]) -> None:
    sizes, some = ClassSizes(np.array(counts)), [n for n in counts if n]
    assert sizes.rho == max(some) / min(some)
    assert sizes.minority.tolist() == [n * n < max(some) * min(some) for n in counts]
    assert sizes.shares.sum() == pytest.approx(1)
    assert sizes.relative.mean() == pytest.approx(1)
    assert sizes.majority_share == pytest.approx(max(counts) / sum(counts))


def test_equal_classes_have_no_minority() -> None:
    sizes = ClassSizes(np.full(7, 12))
    assert (sizes.rho, sizes.mu) == (1, 0)
    assert not sizes.relatively_rare.any()


def test_no_train_image_is_refused() -> None:
    with pytest.raises(DataError, match="expected images to train on, got none"):
        inspect(dataset([9, 9], lambda i: "test"), None, 0)


@pytest.mark.parametrize(
    ("n", "size"), [(0, "few"), (19, "few"), (20, "medium"), (100, "medium"), (101, "many"), (5000, "many")]
)
def test_sizes_are_those_of_the_long_tail_protocol(n: int, size: str) -> None:
    assert size_of(n) == size


@pytest.mark.parametrize(
    ("sizes", "seen"),
    [
        ([1000, 20], "Rare both in number and against the others: c1."),
        ([22, 24], "Rare in number alone (fewer than 20 train images): c0, c1."),
        ([4000, 400], "Rare against the others alone: c1."),
        ([400, 400], ""),
    ],
)
def test_absolute_rarity_is_told_from_relative_imbalance(sizes: list[int], seen: str) -> None:
    rare = [a.seen for a in inspect(dataset(sizes), None, 0).advice if a.seen.startswith("Rare")]
    assert rare == [seen] * bool(seen)


def test_what_is_needed_certifies_and_one_less_does_not() -> None:
    for target in targets(dataset([9] * 5)):
        for n, joint in ((target.held_out, 1), (target.jointly, 5)):
            certify(np.full(n, 0.5), recall=target.recall, confidence=CONFIDENCE, joint=joint)
            with pytest.raises(NotCertifiable) as refused:
                certify(np.full(n - 1, 0.5), recall=target.recall, confidence=CONFIDENCE, joint=joint)
            if joint == 1:
                assert best_recall(n - 1) == pytest.approx(refused.value.best_recall)
    assert best_recall(0) == 0.0


PARTS: dict[str, tuple[str, int, Callable[[int], str]]] = {
    "no parts": ("in all", 0, lambda i: "train"),
    "a test part": ("outside test", 10, lambda i: "test" if i < 10 else "train"),
    "val and test": ("in val", 19, lambda i: "test" if i < 10 else "train" if i < 19 else "val"),
    "val alone": ("in val", 9, lambda i: "train" if i < 9 else "val"),
}


@pytest.mark.parametrize("recall", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("pool", "elsewhere", "part"), PARTS.values(), ids=PARTS)
def test_as_many_images_as_it_says_give_enough_held_out_ones(
    pool: str, elsewhere: int, part: Callable[[int], str], recall: float
) -> None:
    target = next(t for t in targets(dataset([20, 20], part)) if t.recall == recall)
    f = inspect(dataset([1800, target.total + elsewhere], part), None, 0).findings
    assert f.pool == pool
    assert target.held_out <= f.classes[1].held_out <= 1.1 * target.held_out + 2
    assert recall in f.classes[1].certifiable


def test_certificates_count_groups_and_the_table_shows_them() -> None:
    inspection = inspect(dataset([600, 600], related=6), None, 0)
    for c in inspection.findings.classes:
        assert c.held_out * 6 == c.splits["tune"] == 120
        assert c.certifiable == ()
    text = as_text(inspection)
    assert "1,200 images in 200 groups" in text
    assert " groups " in next(line for line in text.split("\n") if line.startswith("class"))
    assert " groups " not in as_text(inspect(dataset([600, 600]), None, 0)).split("Findings")[0]


def test_a_split_that_is_refused_is_a_finding() -> None:
    inspection = inspect(dataset([50, 3]), None, 0)
    assert inspection.findings.refused == "class 'c1' has 3 images (groups); expected at least 4"
    assert inspection.findings.rho == 50 / 3
    assert [c.splits for c in inspection.findings.classes] == [{}, {}]
    assert "The split is refused: class 'c1' has 3 images" in as_text(inspection)
    assert "--merge" in inspection.advice[0].advice
    assert inspection.record()["refused"] == inspection.findings.refused


def test_json_holds_all_of_it(digits: Inspection) -> None:
    record = digits.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [c["name"] for c in record["classes"]] == list("0123456789")
    assert record["targets"][0] == {"recall": 0.9, "held_out": 29, "jointly": 51, "total": 145}
    assert record["duplicates"]["near"]["counts"]["torn"]["pairs"] > 0
    assert len(record["advice"]) == len(digits.advice) > 5


def test_the_text_has_every_class_and_fits_a_terminal(digits: Inspection) -> None:
    lines = as_text(digits).split("\n")
    rows = [line.split() for line in lines]
    for c in digits.findings.classes:
        row = next(row for row in rows if row[:2] == [c.name, f"{c.train}"])
        assert row[2:5] == [str(c.splits[name]) for name in ("calibrate", "tune", "test")]
        assert row[-1] == f"{c.best_recall:.3f}"
        assert row[-4:-1] == ["yes" if r in c.certifiable else "no" for r in (0.9, 0.95, 0.99)]
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    for a in digits.advice:
        words = " ".join(as_text(digits).split())
        assert " ".join(f"{a.advice} [{a.source}]".split()) in words


def test_of_many_classes_the_rarest_and_the_most_frequent_are_shown() -> None:
    text = as_text(inspect(dataset([10 + 5 * k for k in range(40)]), None, 0))
    shown = re.findall(r"^(c\d+) ", text, re.MULTILINE)
    assert shown == [f"c{k}" for k in (39, 38, 37, 36, 35)] + [f"c{k}" for k in range(14, -1, -1)]
    assert "… 20 more" in text
    thirty = as_text(inspect(dataset([10 + k for k in range(30)]), None, 0))
    assert "more\n" not in thirty.split("Findings")[0]


def test_names_are_shown_as_they_are() -> None:
    names = ("[red]no markup[/red]", "a name that is a good deal longer than any column of the table is")
    text = as_text(inspect(replace(dataset([30, 30]), classes=names), None, 0))
    assert re.search(r"^\[red\]no markup\[/red\] +14 ", text, re.MULTILINE)
    column = "".join(re.findall(r"^\S+(?: \S+)*", text.split("\n\n")[1], re.MULTILINE))
    assert names[1].replace(" ", "") in column.replace(" ", "")
    assert max(map(len, text.split("\n"))) <= 100


def test_unreadable_files_are_all_named() -> None:
    names = tuple(f"cat/{i}.png (cannot identify image file)" for i in range(40))
    inspection = inspect(replace(dataset([30, 30]), unreadable=names), None, 0)
    assert all(f"- {name}\n" in as_text(inspection) for name in names)
    assert "`run` and `compare` leave them out (--skip-broken)" in inspection.advice[0].advice
    assert inspection.record()["unreadable"] == list(names)


@pytest.mark.parametrize("n", [1, 5, 6])
def test_files_that_are_no_images_are_counted_and_the_first_are_named(n: int) -> None:
    names = [f"cat/{i}.txt" for i in range(n)]
    inspection = inspect(replace(dataset([30, 30]), not_images=Paths.of("root", names)), None, 0)
    text = " ".join(as_text(inspection).split())
    assert f"no images, {n} file{'s' * (n > 1)}: {', '.join(names[:5])}{', and 1 more in --json' * (n > 5)}." in text
    assert inspection.record()["not_images"] == names
    assert "no images" not in as_text(inspect(dataset([30, 30]), None, 0))


def test_duplicates_in_a_folder_are_called_by_their_files_in_any_output(tmp_path: Path) -> None:
    """Also where a name is not UTF-8, which no terminal and no JSON takes."""
    for k, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(12):
            (tmp_path / name / f"{i:02}.png").write_bytes(png(noise(100 * k + i)))
    odd = os.fsencode(tmp_path) + b"/dog/x\xff.png"
    (tmp_path / "dog/07.png").rename(os.fsdecode(odd))
    (tmp_path / "cat/03.png").write_bytes(png(noise(107)))
    for memory in (None, 0):
        inspection = inspect(load_dataset(str(tmp_path), workers=0, memory=memory), None, 0)
        text = " ".join(as_text(inspection).encode().decode().split())
        assert r"cat/03.png = dog/x\xff.png (classes cat and dog)" in text
        (pair,) = json.loads(json.dumps(inspection.record(), ensure_ascii=False).encode())["duplicates"]["exact"][
            "leaks"
        ]
        assert pair["images"] == ["cat/03.png", r"dog/x\xff.png"]


def test_every_column_is_explained(digits: Inspection) -> None:
    for inspection in (digits, inspect(dataset([600, 600], related=6), None, 0), inspect(dataset([50, 3]), None, 0)):
        _, table, legend, *_ = as_text(inspection).split("\n\n")
        columns = re.split(r"  +", table.split("\n")[0])[1:]
        explained = [name for line in legend.split("\n") for name in line.split("  ")[0].split(", ")]
        assert explained == (columns if inspection.findings.refused is None else [*columns[1:], "?"])


def nothing() -> Pairs:
    return Pairs({kind: Count(0, {"train": 0}) for kind in KINDS}, (), ())


def with_pairs(kind: str) -> Callable[[Findings], Findings]:
    pairs = Pairs({k: Count(9, {"train": 9}) if k == kind else Count(0, {"train": 0}) for k in KINDS}, (), ())
    return lambda f: replace(f, duplicates=replace(f.duplicates, near=pairs))


def with_class(**changes: object) -> Callable[[Findings], Findings]:
    return lambda f: replace(f, classes=(*f.classes[:-2], *(replace(c, **changes) for c in f.classes[-2:])))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def calm() -> Findings:
    """Nothing is wrong with it, but for a ρ of 3."""
    with np.errstate(all="raise", under="ignore"):
        found = inspect(dataset([300] * 4), None, 0).findings
    return replace(found, rho=3.0, duplicates=Duplicates(nothing(), nothing(), 0, 20, 20, 20), images=20)


CASES: dict[str, Callable[[Findings], Findings]] = {
    "Give every class": lambda f: replace(f, refused="too small"),
    "Repair them": lambda f: replace(f, unreadable=("a.png",)),
    "Do not judge by accuracy": lambda f: replace(f, majority_share=0.375),
    "Train --method baseline: there is no": lambda f: replace(f, rho=1.99),
    "Collect images of these classes": with_class(size="few", relatively_rare=True),
    "Collect more images of any kind": with_class(size="few"),
    "Set priors, thresholds": with_class(relatively_rare=True),
    "Merge rare classes": with_class(size="few"),
    "Augment the rare classes only": with_class(size="medium", minority=True),
    "Collect that many images": with_class(certifiable=()),
    "Where these show the same thing, move": with_pairs("across"),
    "Where these show the same thing, name": with_pairs("torn"),
    "Look at these pairs": with_pairs("conflicting"),
    "Look at some pairs": with_pairs("all"),
    "Use oversample, which": lambda f: replace(f, batch_size=3),
}


def starting(found: Findings, start: str) -> list[Advice]:
    return [Advice(row.seen(found), row.advice, row.source) for row in ADVICE if row.advice.startswith(start)]


@pytest.mark.parametrize(("start", "change"), CASES.items(), ids=CASES)
def test_advice_is_given_where_its_condition_holds_and_only_there(
    calm: Findings, start: str, change: Callable[[Findings], Findings]
) -> None:
    (before,), (after,) = starting(calm, start), starting(change(calm), start)
    assert before.seen == ""
    assert after.seen.endswith(".")
    assert after.advice.endswith(".")
    assert after.source


def test_imbalance_alone_turns_on_the_advice_on_remedies(calm: Findings) -> None:
    remedies = [row for row in ADVICE if row.seen(calm)]
    assert [row.advice.split(",")[0].split(":")[0][:24] for row in remedies] == [
        "Start with what `run` do", "Keep the rule priors", "Of the plain resamplings", "Undersample only where t",
    ]  # fmt: skip
    assert not any(row.seen(replace(calm, rho=1.5)) for row in remedies)
    assert len(remedies) + len(CASES) == len(ADVICE)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 90), min_size=2, max_size=6).filter(any), st.integers(0, 99))
def test_any_data_set_gets_a_text_and_a_record(sizes: list[int], seed: int) -> None:
    inspection = inspect(dataset(sizes), None, seed)
    assert as_text(inspection).endswith("\n")
    assert json.dumps(inspection.record(), allow_nan=False)
