"""Recall targets of a run: refused before anything is trained, where the tune split is too small to certify them."""

import numpy as np

from decision import Calibration, Holdout, NotCertifiable, Policy, certify, parse_policy
from decision.arrays import Priors
from decision.policy import compile_policy
from training.commands import TrainingConfig
from training.dataset import DataError, Dataset
from training.splits import Splits


def require_certifiable(config: TrainingConfig, dataset: Dataset, splits: Splits) -> None:
    """DataError for a target of an unknown class, or one that so few held-out images (groups) cannot certify."""
    for name, recall in config.recall:
        if name not in dataset.classes:
            raise DataError(f"--recall {name}={recall:g}: unknown class; expected one of {list(dataset.classes)}")
        own = splits.tune[dataset.labels[splits.tune] == dataset.classes.index(name)]
        n = len(np.unique(dataset.groups[own]))
        try:
            certify(np.ones(n), recall=recall, confidence=config.confidence, joint=len(config.recall))
        except NotCertifiable as error:
            raise DataError(f"--recall {name}={recall:g}: {error.faults[0].detail}") from None


def default_policy(
    config: TrainingConfig, classes: tuple[str, ...], calibration: Calibration, calibration_priors: Priors,
    holdout: Holdout,
) -> tuple[Policy, NotCertifiable | None]:  # fmt: skip
    """The bundle's default policy; the rule `priors`, and why, where the network cannot keep what was asked for.

    That is only known once it is trained, with covers="label", and the hours it took are not thrown away for it.
    """

    def compiled(document: object) -> Policy:
        return compile_policy(
            parse_policy(document), classes, calibration, calibration_priors, holdout, seed=config.seed
        )

    try:
        return compiled(config.document()), None
    except NotCertifiable as error:
        return compiled({}), error
