"""The public JSON of a preview: what a policy would do, beside what the one in force does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from decision import Comparison, Figures, Policy, PolicyDocument, Preview, Replay, Shares
from decision.intervals import Array, Intervals
from service.schemas import CertificateDocument, IntervalDocument, certified, interval

MOST_IN_A_MATRIX = 100
"""Classes: a matrix of more, three times with its limits, is for `decision.preview`, not for an answer over HTTP."""


class MatrixDocument(BaseModel):
    """Rows are true classes; columns are labels, the last being none. Null where a class has no test image."""

    value: list[list[float | None]]
    low: list[list[float]]
    high: list[list[float]]


class FiguresDocument(BaseModel):
    """Per class, of labels and of flags (of classes that can be flagged); `decision.Figures` says what each is."""

    recall: dict[str, IntervalDocument]
    precision: dict[str, IntervalDocument]
    label_share: dict[str, IntervalDocument]
    flag_recall: dict[str, IntervalDocument]
    flag_precision: dict[str, IntervalDocument]
    flagged_share: dict[str, IntervalDocument]
    confusion: MatrixDocument | None
    abstention: IntervalDocument
    cost: IntervalDocument


class _Move(BaseModel):
    from_: str | None = Field(alias="from")
    to: str | None


class MoveDocument(_Move):
    """From one label to another (null: none), as a share of all images."""

    share: float


class CountedMoveDocument(_Move):
    """From one label to another (null: none), as a number of answers."""

    count: int


class SharesDocument(BaseModel):
    """Shares of the answers per class: with the label; with the flag, of classes that can be flagged."""

    label_share: dict[str, float]
    flagged_share: dict[str, float]


class ReplayDocument(BaseModel):
    """What a policy would have done with the last n answers of this bundle version, beside the one in force."""

    n: int
    policy: SharesDocument
    against: SharesDocument
    changed: IntervalDocument
    moves: list[CountedMoveDocument]


class PreviewDocument(BaseModel):
    """What a policy would do at its deployment priors, by the holdout; `revision` is the one it is held against."""

    revision: int
    policy: PolicyDocument
    thresholds: dict[str, float]
    certificates: list[CertificateDocument]
    deployment_priors: dict[str, float]
    images: dict[str, float]
    figures: FiguresDocument
    against: FiguresDocument
    difference: FiguresDocument
    changed: IntervalDocument
    changed_before: IntervalDocument
    moves: list[MoveDocument]
    objections: list[str]
    answers: ReplayDocument | None = None


def preview_document(
    found: Preview, comparison: Comparison, policy: Policy, revision: int, objections: tuple[str, ...]
) -> PreviewDocument:
    """The public form of a preview and its comparison with the policy in force, `revision`."""
    names = found.classes
    return PreviewDocument(
        revision=revision, policy=policy.document, thresholds=policy.thresholds,
        certificates=[certified(certificate) for certificate in policy.certificates],
        deployment_priors=policy.by_class(policy.deployment_priors), images=policy.by_class(found.n),
        figures=_figures(names, found.policy), against=_figures(names, comparison.against),
        difference=_figures(names, comparison.difference), changed=interval(comparison.changed),
        changed_before=interval(comparison.changed_before),
        moves=[MoveDocument.model_validate({"from": source, "to": target, "share": share})
               for source, target, share in _moves(names, comparison.moves)],
        objections=list(objections),
    )  # fmt: skip


def replay_document(found: Replay) -> ReplayDocument:
    """The public form of a replay of at least one answer."""
    return ReplayDocument(
        n=found.n, policy=_shares(found.classes, found.policy), against=_shares(found.classes, found.against),
        changed=interval(found.changed),
        moves=[CountedMoveDocument.model_validate({"from": source, "to": target, "count": int(count)})
               for source, target, count in _moves(found.classes, found.moves)],
    )  # fmt: skip


def preview_summary(preview: PreviewDocument) -> dict[str, Any]:
    """What a revision keeps of its preview: without matrices and moves, which the holdout gives again."""
    matrices = {part: {"confusion"} for part in ("figures", "against", "difference")}
    kept: dict[str, Any] = preview.model_dump(
        mode="json", include={"revision", "changed", "objections", "images", *matrices}, exclude=matrices
    )
    return kept


def _figures(names: tuple[str, ...], figures: Figures) -> FiguresDocument:
    def by_class(found: Intervals, *, known_only: bool = False) -> dict[str, IntervalDocument]:
        every = {name: found.at(k) for k, name in enumerate(names)}
        return {name: interval(one) for name, one in every.items() if not (known_only and np.isnan(one.value))}

    return FiguresDocument(
        recall=by_class(figures.recall), precision=by_class(figures.precision),
        label_share=by_class(figures.label_share),
        flag_recall=by_class(figures.flag_recall, known_only=True),
        flag_precision=by_class(figures.flag_precision, known_only=True),
        flagged_share=by_class(figures.flagged_share, known_only=True),
        confusion=_matrix(figures.confusion) if len(names) <= MOST_IN_A_MATRIX else None,
        abstention=interval(figures.abstention), cost=interval(figures.cost),
    )  # fmt: skip


def _matrix(found: Intervals) -> MatrixDocument:
    return MatrixDocument(value=_rows(found.value), low=found.low.tolist(), high=found.high.tolist())


def _shares(names: tuple[str, ...], found: Shares) -> SharesDocument:
    flagged = zip(names, found.flagged_share.tolist(), strict=True)
    return SharesDocument(
        label_share=dict(zip(names, found.label_share.tolist(), strict=True)),
        flagged_share={name: share for name, share in flagged if not np.isnan(share)},
    )


def _rows(values: Array) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


def _moves(names: tuple[str, ...], moves: NDArray[Any]) -> list[tuple[str | None, str | None, float]]:
    """From, to and how much, the largest first."""
    labels = (*names, None)
    found = [(labels[i], labels[j], moves[i, j].item()) for i, j in zip(*np.nonzero(moves), strict=True)]
    return sorted(found, key=lambda move: -move[2])
