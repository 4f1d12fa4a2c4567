"""Two policies on the same images: whether they can be compared, and which labels move."""

import numpy as np

from decision.arrays import Labels
from decision.errors import listed
from decision.intervals import Array
from decision.policy import ABSTAIN, Policy


def require_policy(given: object, classes: tuple[str, ...] | None = None) -> None:
    """Raises TypeError for what is no Policy, ValueError for one of other classes than these."""
    if not isinstance(given, Policy):
        raise TypeError(f"expected a Policy, as bundle.policy(document) gives, got {type(given).__name__}")
    if classes is not None and given.classes != classes:
        raise ValueError(f"expected a policy for the classes {listed(classes)}, got one for {listed(given.classes)}")


def label_moves(policy: Labels, against: Labels, k: int, weights: Array | float = 1.0) -> Array:
    """From which label of `against` to which of `policy`, the last being none: `(K + 1, K + 1)` sums of weights `(n,)`.

    Images whose label stays count for nothing.
    """
    source, target = (np.where(labels == ABSTAIN, k, labels) for labels in (against, policy))
    moved = np.where(policy != against, weights, 0.0)
    sums: Array = np.bincount(source * (k + 1) + target, weights=moved, minlength=(k + 1) ** 2).astype(np.float64)
    return sums.reshape(k + 1, k + 1)
