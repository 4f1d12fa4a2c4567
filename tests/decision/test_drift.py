from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, norm

from benchmarks import drift as simulation
from decision import Holdout
from decision.drift import LEAST_ANSWERS, LEAST_SCORES, LONG, SHORT, SMALL, js_divergence, psi, psi_score, score
from decision.expectation import QUANTITIES, expectation, stratified
from tests.decision.policies import RULES, K, bundle_of, policy_of

positive = st.floats(0.0, 1e6)


@pytest.mark.parametrize(
    ("observed", "expected", "variance", "n", "images", "z"),
    [
        (0, 0, 0, 0, 100, 0.0),
        (40, 40, 38, 1_000, 500, 0.0),
        (40, 20, 20, 1_000, np.inf, 2 * (np.sqrt(40.375) - np.sqrt(20.375))),
        (40, 20, 20, 1_000, 1_000, 2 * (np.sqrt(40.375) - np.sqrt(20.375)) / np.sqrt(2)),
        (40, 20, 5, 1_000, np.inf, 2 * (np.sqrt(160.375) - np.sqrt(80.375))),
        (9, 0, 0, 1_000, np.inf, 2 * (np.sqrt(9.375) - np.sqrt(0.375))),  # none was expected: as a Poisson count
        (1_000, 1_000, 0, 1_000, 10, 0.0),  # a rule that flags everything
    ],
)
def test_scores(observed: float, expected: float, variance: float, n: float, images: float, z: float) -> None:
    assert score(observed, expected, variance, n, images) == pytest.approx(z, rel=1e-5, abs=1e-5)


@given(positive, st.floats(1e-3, 1e6), st.floats(1e-3, 1.0), st.floats(1.0, 1e6), positive, st.floats(1.0, 1e9))
def test_a_score_rises_with_what_is_observed_and_falls_with_doubt(
    observed: float, expected: float, scale: float, more: float, n: float, images: float
) -> None:
    z = score(observed, expected, scale * expected, n, images)
    assert score(observed + more, expected, scale * expected, n, images) > z
    assert abs(score(observed, expected, scale * expected, n, images / 2)) <= abs(z)
    assert np.sign(z) == np.sign(observed - expected) or abs(z) < 1e-6
    assert score(expected, expected, scale * expected, n, images) == 0


def test_many_counts_at_once() -> None:
    rng = np.random.default_rng(0)
    c, e, n, m = rng.gamma(2, 30, (5, 3)), rng.gamma(2, 30, (5, 3)), rng.uniform(200, 900, (5, 1)), np.full(3, 400.0)
    z = score(c, e, 0.8 * e, n, m)
    assert z.shape == (5, 3)
    assert z[4, 2] == score(c[4, 2], e[4, 2], 0.8 * e[4, 2], n[4, 0], 400.0)


@pytest.mark.parametrize("name", ["observed", "expected", "variance", "n", "images"])
def test_sums_that_are_none(name: str) -> None:
    given = {"observed": 5.0, "expected": 5.0, "variance": 5.0, "n": 100.0, "images": 50.0}
    assert score(**given) == 0
    with pytest.raises(ValueError, match="expected"):
        score(**given | {name: -1.0})
    with pytest.raises(ValueError, match="more than 0 images"):
        score(**given | {"images": 0.0})


# Of n answers and a stratified reference; the rarest class is expected 3 times at least.
@pytest.mark.parametrize(("n", "m"), [(300, 2_000), (5_000, 5_000), (20_000, 2_000)])
@pytest.mark.parametrize("site", [False, True])
def test_without_drift_a_score_is_standard_normal_reference_and_all(n: int, m: int, site: bool) -> None:
    rng = np.random.default_rng([n, m, site])
    held_out = np.array([0.7, 0.2, 0.07, 0.03])
    priors = np.array([0.4, 0.3, 0.2, 0.1]) if site else held_out
    confusion = np.array([[0.9, 0.06, 0.03, 0.01], [0.1, 0.8, 0.1, 0.0], [0.2, 0.1, 0.65, 0.05], [0.1, 0.1, 0.1, 0.7]])
    images = np.round(m * held_out).astype(int)
    z, naive = [], []
    for _ in range(1_500):
        hits = np.array([rng.multinomial(size, row) for size, row in zip(images, confusion, strict=True)])
        found = stratified(priors, images, hits, hits)
        counts = rng.multinomial(n, priors @ confusion)
        z.append(score(counts, n * found.mean, n * found.variance, n, found.images))
        naive.append(score(counts, n * found.mean, n * found.variance, n, np.inf))
    spread = np.std(z, axis=0)
    assert (np.abs(np.mean(z, axis=0)) < 0.12).all()
    assert ((spread > 0.93) & (spread < 1.06)).all()
    for level in (0.1, 0.01):
        found_share = (np.abs(z) > norm.isf(level / 2)).mean(axis=0)
        assert (found_share < level + 4 * np.sqrt(level / 1_500)).all()
    if n >= m:
        assert (np.std(naive, axis=0) > 1.15).all(), "the reference's chance is not small"


@pytest.mark.parametrize("moves", [False, True], ids=["thresholds", "priors"])
def test_a_change_of_policy_in_a_window_is_no_drift(moves: bool) -> None:
    """Of every quantity: half a window under one policy, half under another, whose priors the site moves to as well."""
    rng = np.random.default_rng(moves)
    there: dict[str, Any] = {"deployment_priors": dict(zip("abcd", (0.25, 0.25, 0.2, 0.3), strict=True))}
    sizes, n, z, decisions_only = (400, 300, 200, 120), 1_000, [], []

    def images(labels: np.ndarray) -> np.ndarray:
        return rng.normal(0, 1.5, (len(labels), K)) + 2 * np.eye(K)[labels]

    labels = np.tile(np.repeat(np.arange(K), sizes), 2)
    for _ in range(150):
        holdout = Holdout(images(labels), labels, np.repeat(["tune", "test"], sum(sizes)), np.arange(len(labels)))
        policies = [policy_of(RULES[0], holdout, abstain_below=0.4),
                    policy_of(RULES[2], holdout, **there if moves else {}, abstain_below=0.5)]  # fmt: skip
        c, e, v = np.zeros((3, 4, K))
        for policy in policies:
            z_live = images(rng.choice(K, n, p=policy.deployment_priors))
            decided = policy.decide(z_live)
            hits = (decided.labels[:, None] == np.arange(K)).sum(axis=0)
            raw = np.bincount(policy.calibration.logits(z_live).argmax(axis=1), minlength=K)
            c += [raw, hits, decided.flags.sum(axis=0), decided.probabilities.sum(axis=0)]
            found = expectation(bundle_of(holdout), policy)
            e += n * found.mean
            v += n * found.variance
        z.append(score(c, e, v, 2 * n, found.images))
        last = expectation(bundle_of(holdout), policies[0])
        decisions_only.append(score(c[1], 2 * n * last.mean[1], 2 * n * last.variance[1], 2 * n, last.images[1]))
    used = np.array([[True] * K, [True] * K, policies[1].rule.can_flag, [True] * K])
    spread = np.std(z, axis=0)[used]
    assert len(QUANTITIES) == 4
    assert (np.array(z)[:, ~used] == 0).all()
    assert (np.abs(np.mean(z, axis=0)[used]) < 4 / np.sqrt(150)).all()
    assert ((spread > 0.75) & (spread < 1.25)).all()
    assert np.abs(np.mean(decisions_only, axis=0)).max() > 5, "against the first policy alone, it would be one"


counts = st.integers(2, 8).flatmap(
    lambda k: st.tuples(*[arrays(np.float64, k, elements=st.integers(0, 10_000).map(float)) for _ in range(2)])
).filter(lambda pair: all(x.sum() > 0 for x in pair))  # fmt: skip


@given(counts)
def test_jensen_shannon_is_the_square_of_scipys_distance(pair: tuple[np.ndarray, np.ndarray]) -> None:
    observed, expected = pair
    divergence = js_divergence(observed, expected)
    assert divergence == pytest.approx(jensenshannon(observed, expected, base=2) ** 2, abs=1e-9)
    assert divergence == pytest.approx(js_divergence(expected, observed))
    assert -1e-12 <= divergence <= 1 + 1e-12


@given(counts)
def test_psi(pair: tuple[np.ndarray, np.ndarray]) -> None:
    observed, expected = pair
    k, total = len(observed), 0.0
    for c, e in zip(observed, expected, strict=True):
        q, p = (c + 0.5) / (observed.sum() + k / 2), (e + 0.5) / (expected.sum() + k / 2)
        total += q * np.log(q / p) + p * np.log(p / q)  # Jeffreys' divergence: Kullback and Leibler's both ways
    assert psi(observed, expected) == pytest.approx(total, abs=1e-9)
    assert psi(observed, expected) == pytest.approx(psi(expected, observed))
    assert psi(observed, observed) == 0


@pytest.mark.parametrize("rows", [([1, 2], [1, 2, 3]), ([0, 0], [1, 1]), ([1, 1], [-1, 3]), ([[1, 2]], [[1, 2]])])
def test_counts_that_are_none(rows: tuple) -> None:
    for function in (psi, js_divergence):
        with pytest.raises(ValueError, match="expected two rows of counts"):
            function(*rows)


@pytest.mark.parametrize(("n", "m"), [(2_000, 2_000), (20_000, 3_000)])
def test_the_score_of_psi_is_standard_normal_without_drift(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    shares = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
    reference = rng.multinomial(m, shares, 4_000) / m
    z = [psi_score(psi(c, n * e), e, n, np.full(5, m))
         for c, e in zip(rng.multinomial(n, shares, 4_000), reference, strict=True)]  # fmt: skip
    assert np.mean(z) == pytest.approx(0, abs=0.08)
    assert np.std(z) == pytest.approx(1, abs=0.06)
    for level in (0.05, 0.005):
        assert np.mean(z > norm.isf(level)) == pytest.approx(level, abs=4 * np.sqrt(level / 4_000))


def test_the_score_of_psi_with_one_reference_is_wilson_and_hilfertys() -> None:
    e, n, m = np.full(6, 1 / 6), 3_000.0, 1_000.0
    for p_value in (0.5, 0.05, 0.001):
        value = chi2.isf(p_value, 5) * (1 / n + 1 / m)
        assert psi_score(value, e, n, np.full(6, m)) == pytest.approx(norm.isf(p_value), abs=0.03)
    for broken in ((np.ones(1), n, np.ones(1)), (e, 0.0, np.ones(6)), (e, n, np.zeros(6))):
        with pytest.raises(ValueError, match="expected 2 classes"):
            psi_score(0.1, *broken)


def test_the_alerts_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 days of each scenario without drift, and 40 triplings: a small part of the simulation of benchmarks/."""
    assert list(LEAST_SCORES) == [SHORT, LONG]
    assert (LEAST_ANSWERS, SMALL) == (200, (0.8, 1.25))
    world = simulation.World.of(0.7, 20, 40, np.random.default_rng(0))
    rows = {row["score"]: row for row in simulation.ours(world, 7_000)}
    assert np.mean([rows["raw or mass"][name] for name in simulation.QUIET]) <= 1
    assert rows["raw or mass"]["caught"] >= 0.95
    assert rows["plain"]["caught"] < rows["raw"]["caught"] <= rows["raw or mass"]["caught"]
    monkeypatch.setattr(simulation, "LEAST_SCORES", {SHORT: 3.0, LONG: 3.0})
    loose = simulation.ours(world, 7_000)[-1]
    assert min(loose[name] for name in simulation.QUIET) > 5, "least scores of 3 give many more false alerts"
