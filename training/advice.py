"""What to do about what was found: a table of conditions, each with its advice and where that comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.compare_words import many
from training.findings import Advice, ClassFinding, Findings
from training.pairs import Kind

IMBALANCED = 2.0
UNEVEN = 1.5
ALL_ALIKE = 0.25
NAMED = 5


@dataclass(frozen=True)
class Row:
    """Advice that holds where `seen` finds something to say."""

    seen: Callable[[Findings], str]
    advice: str
    source: str


def advise(findings: Findings) -> tuple[Advice, ...]:
    """The rows of `ADVICE` that apply, in its order."""
    seen = ((row.seen(findings), row) for row in ADVICE)
    return tuple(Advice(text, row.advice, row.source) for text, row in seen if text)


def named(names: Sequence[str], most: int = NAMED) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _rarest(findings: Findings, wanted: Callable[[ClassFinding], bool]) -> list[str]:
    return [c.name for c in sorted(findings.classes, key=lambda c: c.train) if wanted(c)]


def _refused(f: Findings) -> str:
    return f"No split is possible: {f.refused}." if f.refused else ""


def _unreadable(f: Findings) -> str:
    return f"{many(len(f.unreadable), 'file')} cannot be read." if f.unreadable else ""


def _uneven(f: Findings) -> str:
    if f.majority_share * len(f.classes) < UNEVEN:
        return ""
    test = "" if f.majority_share_test is None else f", and for {f.majority_share_test:.1%} of the test split"
    return f"Always answering class {f.majority} is right for {f.majority_share:.1%} of the train images{test}."


def _even(f: Findings) -> str:
    return f"The classes are nearly balanced, ρ = {f.rho:.3g}." if f.rho < IMBALANCED else ""


def _imbalanced(f: Findings) -> str:
    return f"The classes are imbalanced, ρ = {f.rho:,.4g} and μ = {f.mu:.2g}." if f.rho >= IMBALANCED else ""


def _undersampled(f: Findings) -> str:
    left = sum(1 for c in f.classes if c.train) * min(c.train for c in f.classes if c.train)
    return f"Undersampled to balance, {left:,} of {f.train:,} train images are left." if f.rho >= IMBALANCED else ""


def _rare(how: str, wanted: Callable[[ClassFinding], bool]) -> Callable[[Findings], str]:
    def seen(f: Findings) -> str:
        names = _rarest(f, wanted)
        return f"{how}: {named(names)}." if names else ""

    return seen


def _several_few(f: Findings) -> str:
    names = _rarest(f, lambda c: c.size == "few")
    return f"{len(names)} classes have fewer than 20 train images." if len(names) > 1 else ""


def _minority_without_many(f: Findings) -> str:
    names = _rarest(f, lambda c: c.size != "many" and c.minority)
    return f"Minority classes with at most 100 train images: {named(names)}." if names else ""


def _not_certifiable(f: Findings) -> str:
    names, target = _rarest(f, lambda c: f.targets[0].recall not in c.certifiable), f.targets[0]
    if not names or f.refused:
        return ""
    return (f"Recall {target.recall:g} cannot be certified for {named(names)}: it takes {target.held_out} tune "
            f"images (groups) of a class, so about {target.total:,} {f.pool}.")  # fmt: skip


def _leaking(kind: Kind, where: str) -> Callable[[Findings], str]:
    def seen(f: Findings) -> str:
        exact, near = (pairs.counts[kind].pairs for pairs in (f.duplicates.exact, f.duplicates.near))
        return f"{many(exact, 'exact duplicate pair')} and {many(near, 'near one')} {where}." if exact + near else ""

    return seen


def _conflicting(f: Findings) -> str:
    exact, near = (pairs.counts["conflicting"].pairs for pairs in (f.duplicates.exact, f.duplicates.near))
    return (
        f"{many(exact, 'exact duplicate pair')} and {many(near, 'near one')} have different labels."
        if exact + near
        else ""
    )


def _all_alike(f: Findings) -> str:
    share = f.duplicates.near.counts["all"].n_images / f.images
    return f"{share:.0%} of the images have a near duplicate." if share > ALL_ALIKE else ""


def _crowded(f: Findings) -> str:
    n, batch = len(f.classes), f.batch_size
    return f"{n:,} classes do not fit in a batch of {batch} images." if n > batch else ""


ADVICE: tuple[Row, ...] = (
    Row(_refused, "Give every class at least 4 images (groups) where splits are drawn, or merge it with one that is "
        "like it (--merge NEW=A,B).", "the shares of the four splits"),
    Row(_unreadable, "Repair them, or let `run` and `compare` leave them out (--skip-broken).",
        "the decoder, under Findings"),
    Row(_uneven, "Do not judge by accuracy: look at the recall of each class and at the AUC.",
        "Buda et al. 2018, section 3.4"),
    Row(_even, "Train --method baseline: there is no imbalance to remedy.", "Buda et al. 2018, section 4.1"),
    Row(_imbalanced, "Start with what `run` does by itself, two-phase-oversample under the rule priors; `compare` "
        "it with baseline and other remedies before you settle: how much harm imbalance does depends on the task.",
        "Buda et al. 2018, section 4.1"),
    Row(_imbalanced, "Keep the rule priors: it divides probabilities by the class priors, costs no training and can be "
        "undone while the service runs.", "Buda et al. 2018, section 4.4"),
    Row(_imbalanced, "Of the plain resamplings try oversample to full balance first: it rarely hurts a CNN and did not "
        "make it overfit.", "Buda et al. 2018, section 4.1 and figures 7 and 8"),
    Row(_undersampled, "Undersample only where the frequent classes are redundant, or training time is what you lack.",
        "Buda et al. 2018, section 4.1"),
    Row(_rare("Rare both in number and against the others", lambda c: c.size == "few" and c.relatively_rare),
        "Collect images of these classes in particular, and rebalance besides: neither does alone.", "Weiss 2004"),
    Row(_rare("Rare in number alone (fewer than 20 train images)", lambda c: c.size == "few" and not c.relatively_rare),
        "Collect more images of any kind: no re-weighting makes up for what was never seen.", "Weiss 2004"),
    Row(_rare("Rare against the others alone", lambda c: c.size != "few" and c.relatively_rare),
        "Set priors, thresholds or a resampling: more data of the same mix keeps the imbalance.", "Weiss 2004"),
    Row(_several_few, "Merge rare classes that are alike and call for the same action (--merge NEW=A,B).",
        "Weiss 2004"),
    Row(_minority_without_many, "Augment the rare classes only (--augment-classes rare), with changes that keep their "
        "labels.", "Shorten and Khoshgoftaar 2019"),
    Row(_not_certifiable, "Collect that many images before you promise this recall, or promise no more than the best "
        "recall of the table.", "Tong, Feng and Li 2018, proposition 1"),
    Row(_leaking("across", "lie in different parts of the data"), "Where these show the same thing, move them to "
        "one part and name them as one group (groups.csv, or group_train): until then the test metrics flatter.",
        "Barz and Denzler 2020"),
    Row(_leaking("torn", "may be torn apart by the random split"), "Where these show the same thing, name them as one "
        "group (groups.csv, or group_train): a certificate assumes that its images are strangers.",
        "Barz and Denzler 2020"),
    Row(_conflicting, "Look at these pairs and settle their labels: of equal images at most one label is right.",
        "Northcutt et al. 2021"),
    Row(_all_alike, "Look at some pairs before you act on them: where all images are alike, a correlation of 0.98 is "
        "no sign of a copy.", "Barz and Denzler 2020"),
    Row(_crowded, "Use oversample, which balances over an epoch, or raise --batch-size: class-balanced-batches cannot "
        "give every batch every class.", "Shen et al. 2016"),
)  # fmt: skip
