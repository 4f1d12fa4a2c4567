import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from decision import adjust, softmax
from decision.label_shift import Known, NotIdentifiable, bbse, em, estimate_priors, rlls
from tests.decision.strategies import CLASSES, priors

SOURCE = np.array([0.85, 0.10, 0.05])
TARGET = np.array([0.55, 0.15, 0.30])
CENTRES = 2.0 * np.eye(3)


def population(mix: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact probabilities under SOURCE and labels of n images from three Gaussian classes mixed as `mix`."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=mix)
    x = rng.normal(size=(n, 3)) + CENTRES[labels]
    log_likelihood = -0.5 * ((x[:, None, :] - CENTRES) ** 2).sum(axis=2)
    return softmax(log_likelihood + np.log(SOURCE)), labels


def known(n: int = 6000, seed: int = 1) -> Known:
    return Known(*population(SOURCE, n, seed), SOURCE)


def test_em_is_the_maximum_of_the_likelihood() -> None:
    p, _ = population(TARGET, 4000, 0)

    def loss(free: np.ndarray) -> float:
        q = softmax(np.concatenate([[0.0], free])[None])[0]
        return float(-np.log((p / SOURCE) @ q).mean())

    best = scipy.optimize.minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-15})
    expected = softmax(np.concatenate([[0.0], best.x])[None])[0]
    np.testing.assert_allclose(em(p, SOURCE), expected, atol=1e-6)


@given(CLASSES, st.integers(0, 99))
def test_without_a_shift_em_changes_nothing(k: int, seed: int) -> None:
    p = softmax(np.random.default_rng(seed).normal(size=(50, k)))
    # Calibration priors are the mean probability of their own split: so is the fixed point.
    np.testing.assert_allclose(em(p, p.mean(axis=0)), p.mean(axis=0), atol=1e-6)


def test_adjusting_to_the_estimate_gives_its_mean() -> None:
    p, _ = population(TARGET, 3000, 2)
    q = em(p, SOURCE)
    np.testing.assert_allclose(adjust(p, from_=SOURCE, to=q).mean(axis=0), q, atol=1e-7)


@given(CLASSES.flatmap(lambda k: st.tuples(priors(k), st.integers(0, 99))))
def test_bbse_inverts_the_confusion_matrix(drawn: tuple[np.ndarray, int]) -> None:
    q, seed = drawn
    k = len(q)
    columns = np.random.default_rng(seed).dirichlet(np.ones(k), k).T * 0.3 + 0.7 * np.eye(k)
    np.testing.assert_allclose(bbse(columns @ q, columns), q, atol=1e-8)
    np.testing.assert_allclose(bbse(columns @ q, columns), np.linalg.solve(columns, columns @ q), atol=1e-8)


CLEAR = np.array([[0.8, 0.2, 0.1], [0.1, 0.7, 0.1], [0.1, 0.1, 0.8]])
BLURRED = np.array([[0.62, 0.40, 0.10], [0.35, 0.50, 0.10], [0.03, 0.10, 0.80]])


def rlls_objective(weights: np.ndarray, shares: np.ndarray, columns: np.ndarray, n: int) -> float:
    """Azizzadenesheli et al. 2019, algorithm 1 with the authors' ρ, of w = 1 + θ."""
    spread = 2 * np.log(2 * 3 / 0.05)
    rho = 0.01 * 3 * (spread / (3 * n) + np.sqrt(spread / n))
    return float(np.linalg.norm(columns * SOURCE @ weights - shares) + rho * np.linalg.norm(weights - 1))


@pytest.mark.parametrize(("columns", "n"), [(BLURRED, 10), (BLURRED, 4), (CLEAR, 2), (CLEAR, 1)])
def test_rlls_agrees_with_a_general_optimiser(columns: np.ndarray, n: int) -> None:
    shares = columns @ TARGET + np.array([0.02, -0.03, 0.01])
    best = min(
        (scipy.optimize.minimize(rlls_objective, start, (shares, columns, n), method="SLSQP", bounds=[(0, None)] * 3,
                                 options={"ftol": 1e-16, "maxiter": 2000})
         for start in (np.full(3, 0.9), TARGET / SOURCE, np.full(3, 1.1))), key=lambda found: found.fun,
    )  # fmt: skip
    found = rlls(shares, columns, source=SOURCE, n_source=n)
    np.testing.assert_allclose(found, SOURCE * best.x / (SOURCE @ best.x), atol=1e-6)
    assert np.abs(found - SOURCE).sum() < np.abs(bbse(shares, columns) - SOURCE).sum(), "shrunk to the source"


def test_rlls_without_need_of_shrinking_is_bbse_and_without_a_clue_is_the_source() -> None:
    shares = CLEAR @ TARGET
    np.testing.assert_allclose(rlls(shares, CLEAR, source=SOURCE, n_source=10**6), TARGET, atol=1e-8)
    np.testing.assert_allclose(rlls(SOURCE, np.tile(SOURCE[:, None], 3), source=SOURCE, n_source=1), SOURCE, atol=1e-6)


def test_rlls_of_answers_takes_its_source_and_matrix_from_the_holdout() -> None:
    holdout = known(400)
    predicted = holdout.probabilities.argmax(axis=1)
    joint = np.array([[np.mean((predicted == i) & (holdout.labels == j)) for j in range(3)] for i in range(3)])
    source = np.bincount(holdout.labels) / 400
    expected = rlls(np.array([0.5, 0.2, 0.3]), joint / source, source=source, n_source=400)
    found = estimate_priors(counts=[50, 20, 30], method="rlls", holdout=holdout)
    np.testing.assert_allclose(found.priors, expected, atol=1e-12)


@pytest.mark.parametrize("method", ["em", "bbse", "rlls"])
def test_estimates_find_the_live_priors_and_their_limits_hold_them(method: str) -> None:
    holdout, inside = known(), 0
    for seed in range(12):
        p, _ = population(TARGET, 3000, 100 + seed)
        found = estimate_priors(probabilities=p, method=method, holdout=holdout)
        assert np.abs(found.priors - TARGET).max() < 0.06
        assert np.abs(found.priors - TARGET).sum() < 0.3 * np.abs(SOURCE - TARGET).sum()
        assert found.priors.sum() == pytest.approx(1.0)
        inside += int(((found.low <= TARGET) & (found.high >= TARGET)).sum())
    assert inside >= 0.85 * 36
    assert (found.n, found.method) == (3000, method)


def test_counts_of_raw_predictions_are_enough_for_bbse_and_rlls() -> None:
    p, _ = population(TARGET, 3000, 5)
    counts = np.bincount(p.argmax(axis=1), minlength=3)
    for method in ("bbse", "rlls"):
        from_counts = estimate_priors(counts=counts, method=method, holdout=known())
        from_answers = estimate_priors(probabilities=p, method=method, holdout=known())
        np.testing.assert_array_equal(from_counts.priors, from_answers.priors)


def test_classes_that_cannot_be_told_apart_are_not_identifiable() -> None:
    blind = Known(np.tile([0.5, 0.3, 0.2], (300, 1)), np.arange(300) % 3, SOURCE)
    with pytest.raises(NotIdentifiable, match="condition number"):
        estimate_priors(counts=[10, 10, 10], method="bbse", holdout=blind)
    one = Known(np.eye(3)[[0, 1]], np.array([0, 1]), SOURCE)
    with pytest.raises(NotIdentifiable, match="every class"):
        estimate_priors(counts=[10, 10, 10], method="bbse", holdout=one)


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "guess", "counts": [1, 1, 1]},
        {"method": "em", "counts": [1, 1, 1]},
        {"method": "bbse"},
        {"method": "bbse", "counts": [1, 1, 1], "probabilities": np.eye(3)},
        {"method": "bbse", "counts": [1, 1]},
        {"method": "bbse", "counts": [0, 0, 0]},
        {"method": "bbse", "counts": [1, -1, 1]},
        {"method": "em", "probabilities": np.eye(2)},
        {"method": "em", "probabilities": np.zeros((0, 3))},
        {"method": "em", "probabilities": np.full((5, 3), np.nan)},
        {"method": "em", "probabilities": np.array([[3.0, -1.0, -1.0]])},
        {"method": "em", "probabilities": np.array([[0.3, 0.3, 0.3]])},
        {"method": "bbse", "counts": [0.5, 0.5, 1.0]},
        {"method": "bbse", "counts": [np.nan, 1.0, 1.0]},
        {"method": "bbse", "counts": [np.inf, 1.0, 1.0]},
        {"method": "bbse", "counts": [1e300, 1.0, 1.0]},
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        estimate_priors(holdout=known(300), **arguments)


def test_a_class_that_nobody_was_predicted_to_be_is_no_fault() -> None:
    found = estimate_priors(counts=[90, 10, 0], method="bbse", holdout=known(600))
    assert found.priors.sum() == pytest.approx(1.0)
    assert found.priors[2] < 0.05


@pytest.mark.parametrize("method", ["em", "bbse", "rlls"])
def test_few_answers_leave_the_priors_open(method: str) -> None:
    """With n answers no prior below 1 - 0.025^(1/n) can be ruled out, whatever they say."""
    p, _ = population(np.array([0.97, 0.02, 0.01]), 20, 3)
    found = estimate_priors(probabilities=p, method=method, holdout=known())
    assert (found.high >= 1 - 0.025 ** (1 / 20) - 1e-12).all()


def test_related_images_of_the_holdout_widen_the_limits() -> None:
    single = known(300)
    rows = np.repeat(np.arange(300), 10)
    copies = Known(single.probabilities[rows], single.labels[rows], SOURCE, rows)
    widths = [np.subtract(*(getattr(estimate_priors(counts=[6000, 2000, 2000], method="bbse", holdout=holdout), end)
                            for end in ("high", "low"))).sum()
              for holdout in (single, copies, Known(copies.probabilities, copies.labels, SOURCE))]  # fmt: skip
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert widths[2] < 0.6 * widths[0]


def test_predictions_that_no_class_explains_are_not_identifiable() -> None:
    with pytest.raises(NotIdentifiable, match="some class of the holdout explains"):
        bbse(np.array([0.0, 1.0]), np.array([[1.0, 1.0], [0.0, 0.0]]))


def test_the_limits_rest_on_the_holdout_too() -> None:
    """A million answers, 60 held-out images: counts with labels would be exact, these are not."""
    p, _ = population(TARGET, 3000, 5)
    counts = 1000 * np.bincount(p.argmax(axis=1), minlength=3)
    found = estimate_priors(counts=counts, method="bbse", holdout=known(200, seed=4))
    assert (found.low[[0, 2]] < found.priors[[0, 2]] - 0.05).all()
    assert (found.high[[0, 2]] > found.priors[[0, 2]] + 0.05).all()


def test_one_answer_is_enough_to_say_little() -> None:
    found = estimate_priors(counts=[1, 0, 0], method="bbse", holdout=known(600))
    assert found.n == 1
    assert (found.high >= 0.97).all()
