"""python -m training inspect DATA: what a data set is like, before anything is trained on it."""

import numpy as np
from numpy.typing import NDArray

from training.advice import advise
from training.attainable import best_recall, held_out, pool, targets
from training.dataset import Dataset
from training.duplicates import find_duplicates
from training.errors import DataError
from training.findings import ClassFinding, Findings, Inspection
from training.folder import PARTS
from training.imbalance import Imbalance
from training.inspection_text import as_text
from training.rarity import ClassSizes, size_of
from training.splits import Splits, split

__all__ = ["Inspection", "as_text", "inspect"]

BATCH_SIZE = 64


def inspect(
    dataset: Dataset, imbalance: Imbalance | None, seed: int, *, workers: int = 0, batch_size: int = BATCH_SIZE
) -> Inspection:
    """Look at the data as `run` would see it, with this imbalance and seed.

    A split that `run` would refuse is a finding. Raises DataError only where there is no train image at all.
    """
    splits, refused = _split(dataset, imbalance, seed)
    train = dataset.parts == "train" if splits is None else splits.train
    sizes = ClassSizes(dataset.counts(train))
    test = None if splits is None else float((dataset.labels[splits.test] == sizes.majority).mean())
    where, _ = pool(dataset)
    findings = Findings(
        data=dataset.name, imbalance=None if imbalance is None else str(imbalance), seed=seed,
        images=len(dataset.labels), groups=len(np.unique(dataset.groups)), refused=refused,
        train=sizes.n, rho=sizes.rho, mu=sizes.mu, majority=dataset.classes[sizes.majority],
        majority_share=sizes.majority_share, majority_share_test=test,
        classes=_classes(dataset, sizes, splits), pool=where, targets=targets(dataset),
        duplicates=find_duplicates(dataset, seed, workers=workers),
        unreadable=dataset.unreadable, not_images=dataset.not_images.names(), batch_size=batch_size,
    )  # fmt: skip
    return Inspection(findings, advise(findings))


def _split(dataset: Dataset, imbalance: Imbalance | None, seed: int) -> tuple[Splits | None, str | None]:
    """The splits, or why there are none."""
    try:
        return split(dataset, imbalance, seed), None
    except DataError as error:
        return None, str(error)


def _classes(dataset: Dataset, sizes: ClassSizes, splits: Splits | None) -> tuple[ClassFinding, ...]:
    n_classes, needed = len(dataset.classes), targets(dataset)
    parts = {part: dataset.counts(dataset.parts == part) for part in PARTS if part in dataset.parts}
    split_counts = {} if splits is None else splits.counts(dataset)
    tune = np.zeros(n_classes, dtype=np.int64) if splits is None else held_out(dataset, splits)
    return tuple(
        ClassFinding(
            name=name, parts=_at(parts, k), splits={s: counts[name] for s, counts in split_counts.items()},
            train=int(sizes.counts[k]), share=float(sizes.shares[k]), relative=float(sizes.relative[k]),
            size=size_of(int(sizes.counts[k])), relatively_rare=bool(sizes.relatively_rare[k]),
            minority=bool(sizes.minority[k]), held_out=int(tune[k]),
            certifiable=tuple(t.recall for t in needed if tune[k] >= t.held_out), best_recall=best_recall(int(tune[k])),
        )
        for k, name in enumerate(dataset.classes)
    )  # fmt: skip


def _at(tables: dict[str, NDArray[np.int64]], k: int) -> dict[str, int]:
    return {name: int(table[k]) for name, table in tables.items()}
