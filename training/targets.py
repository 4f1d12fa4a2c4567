"""Recall targets of a run: refused before anything is trained, where the tune split is too small to certify them."""

import numpy as np

from decision import Calibration, Holdout, NotCertifiable, Policy, certify, parse_policy
from decision.arrays import Priors
from decision.errors import listed
from decision.policy import compile_policy
from training.config import TrainingConfig
from training.dataset import Dataset
from training.errors import DataError
from training.splits import Splits


def require_certifiable(config: TrainingConfig, dataset: Dataset, splits: Splits) -> None:
    """DataError with every target of an unknown class, or that so few held-out images (groups) cannot certify."""
    faults = []
    for name, recall in config.recall:
        if name not in dataset.classes:
            faults.append(f"--recall {name}={recall}: unknown class; expected one of {listed(dataset.classes)}")
            continue
        own = splits.tune[dataset.labels[splits.tune] == dataset.classes.index(name)]
        n = len(np.unique(dataset.groups[own]))
        try:
            certify(np.ones(n), recall=recall, confidence=config.confidence, joint=len(config.recall))
        except NotCertifiable as error:
            faults.append(f"--recall {name}={recall}: {error.faults[0].detail}")
    if faults:
        raise DataError("; ".join(faults))


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
