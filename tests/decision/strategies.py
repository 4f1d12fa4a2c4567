"""Random logits and priors for laws."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

CLASSES = st.integers(2, 8)


def logits(classes: int, largest: float = 30.0) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 6), st.just(classes))
    return arrays(np.float64, shapes, elements=st.floats(-largest, largest, width=32))


def priors(classes: int) -> st.SearchStrategy[np.ndarray]:
    weights = arrays(np.float64, classes, elements=st.floats(0.01, 1.0))
    return weights.map(lambda w: w / w.sum())
