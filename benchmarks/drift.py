"""Can the drift alerts be trusted? A simulation of years of traffic, beside the rules that other monitors come with.

    python -m benchmarks.drift [--days 3000] [--runs 1000] [--quick] [--out drift.json]

12 classes, 57:1, 10,000 answers a day, a Poisson process with busy noons and quiet nights. A calibrated classifier of
Gaussian images whose raw recall of the rarest class is set; a holdout of m images. Deployments of 10 days, each with
a holdout of its own; alerts are evaluated every 15 minutes on windows of 1 and 24 hours, and fire after two evaluations
in a row (`for: 15m`), from 200 answers on and outside ratios 0.8 to 1.25. Each beginning of an alert of a class on a
window counts, so that one that flaps counts often. Three scenarios should fire none: no drift, a site with its own
priors that are configured, and a move to that site after 5 days with the priors changed in the same moment. A tripling
of the rarest class is caught if that class's own alert fires within 24 hours. Exit code 1 where the alerts on raw
predictions and posterior mass together, for m of at least 7,000, give more than one false alert in 100 days, or, for a
recall of at least 0.7 too, catch less than 95%; of fewer than 3,000 days nothing is judged.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from decision.drift import LEAST_ANSWERS, LEAST_SCORES, LONG, SHORT, SMALL, score
from decision.expectation import Moments, stratified

K, RATIO = 12, 57
PRIORS = RATIO ** (-np.arange(K) / (K - 1.0))
PRIORS /= PRIORS.sum()
SITE = PRIORS * np.where(np.arange(K) % 2, 2.5, 0.6)  # every other class four times as frequent beside its neighbours
SITE /= SITE.sum()
TRIPLED = PRIORS * np.append(np.full(K - 1, (1 - 3 * PRIORS[-1]) / (1 - PRIORS[-1])), 3.0)
RECALLS, IMAGES = (0.3, 0.5, 0.7, 0.9), (2_000, 7_000, 20_000, 50_000)
A_DAY, BINS, DAYS = 10_000, 96, 10  # answers; evaluations; days of a deployment
RATE = A_DAY / BINS * (1 + 0.8 * np.sin(2 * np.pi * (np.arange(BINS) / BINS - 0.25)))  # answers an evaluation
WINDOWS = {SHORT: BINS // 24, LONG: BINS}  # in evaluations
ENOUGH_DAYS = 1_000  # to judge a promise of one alert in 100: they come in clusters
POOL = 40_000  # images of each class: the population
SEPARATION = 3.6  # of the classes but the rarest
WAYS = ("plain", "raw", "mass", "raw or mass")
QUIET = ("no drift", "own priors", "priors change")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=3_000, help="of each scenario without drift")
    parser.add_argument("--runs", type=int, default=1_000, help="triplings")
    parser.add_argument("--quick", action="store_true", help="600 days, 100 runs, one recall and size")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    days, runs = (600, 100) if given.quick else (given.days, given.runs)
    begun_at = time.monotonic()
    rows, peers = [], []
    for recall in (0.7,) if given.quick else RECALLS:
        world = World.of(recall, max(days // DAYS, 1), runs, np.random.default_rng([int(100 * recall), 6]))
        for m in (7_000,) if given.quick else IMAGES:
            rows += ours(world, m)
        peers += theirs(world, 7_000)
        print(f"recall {recall}: {time.monotonic() - begun_at:.0f} s", file=sys.stderr)
    if given.out:
        given.out.write_text(json.dumps({"ours": rows, "theirs": peers}, indent=1) + "\n")
    print(table(rows, ["recall", "m", "score", *QUIET, "caught", "caught in 1h window"]))
    print("\n" + table(peers, ["recall", "rule", "chunk", *QUIET, "quiet days with one", "caught"]))
    judged = days >= ENOUGH_DAYS
    broken = [row for row in rows if judged and row["score"] == WAYS[-1] and row["m"] >= 7_000 and not kept(row)]
    print(
        f"\n{days} days, {runs} runs a cell, {time.monotonic() - begun_at:.0f} s; "
        + (f"{len(broken)} promises broken" if judged else f"too short to judge, {ENOUGH_DAYS:,} days are not")
    )
    return int(bool(broken))


def kept(row: dict) -> bool:
    return all(row[name] <= 1 for name in QUIET) and (row["recall"] < 0.7 or row["caught"] >= 0.95)


@dataclass(frozen=True, eq=False)
class Population:
    """A pool of images, POOL a class: predictions `raw` `(K POOL,)`, adjusted probabilities `mass` `(K POOL, K)`."""

    raw: np.ndarray
    mass: np.ndarray

    @classmethod
    def of(cls, recall: float, rng: np.random.Generator) -> "Population":
        labels = np.repeat(np.arange(K), POOL)
        noise = rng.normal(size=(K * POOL, K))
        low, high = 0.0, 12.0
        for _ in range(20):  # bisection of the rarest class's separation
            middle = (low + high) / 2
            enough = (_logits(noise[-POOL:], labels[-POOL:], middle).argmax(axis=1) == K - 1).mean() >= recall
            low, high = (low, middle) if enough else (middle, high)
        logits = _logits(noise, labels, high)
        return cls(logits.argmax(axis=1), softmax(logits, axis=1))

    @property
    def shares(self) -> np.ndarray:
        """P(raw | true) `(K, K)`, true by raw."""
        return np.array([np.bincount(own, minlength=K) for own in self.raw.reshape(K, POOL)]) / POOL

    def adjusted(self, priors: np.ndarray) -> "Population":
        """With the mass at other deployment priors."""
        mass = self.mass * (priors / PRIORS)
        return Population(self.raw, mass / mass.sum(axis=1, keepdims=True))

    def sums(self, images: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of raw predictions and of mass, over runs of images that end before `ends`: `(runs, K)` each."""
        runs = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        raw = np.bincount(runs * K + self.raw[images], minlength=len(ends) * K).reshape(-1, K)
        mass = np.concatenate([np.zeros((1, K)), np.cumsum(self.mass[images], axis=0)])
        return raw, np.diff(mass[ends], axis=0, prepend=np.zeros((1, K)))

    def reference(self, images: np.ndarray, n: np.ndarray, priors: np.ndarray) -> dict[str, Moments]:
        """Moments of raw and mass at these deployment priors, from held-out images in order of class, n `(K,)` each."""
        starts = np.cumsum(n) - n
        hits = np.bincount(np.repeat(np.arange(K), n) * K + self.raw[images], minlength=K * K).reshape(K, K)
        mass = self.mass[images]
        first, second = (np.add.reduceat(x, starts, axis=0) for x in (mass, mass**2))
        return {"raw": stratified(priors, n, hits, hits), "mass": stratified(priors, n, first, second)}


def _logits(noise: np.ndarray, labels: np.ndarray, rarest: float) -> np.ndarray:
    """Calibrated logits of unit Gaussians around s_k e_k, under PRIORS: x_k s_k - s_k² / 2 + log π_k."""
    separations = np.append(np.full(K - 1, SEPARATION), rarest)
    return (noise + np.diag(separations)[labels]) * separations - separations**2 / 2 + np.log(PRIORS)


@dataclass(frozen=True, eq=False)
class Traffic:
    """Per evaluation, of D deployments: answers n `(D, T, 1)`, raw predictions and mass `(D, T, K)`."""

    n: np.ndarray
    raw: np.ndarray
    mass: np.ndarray

    @classmethod
    def of(cls, days: list[tuple[Population, np.ndarray]], count: int, rng: np.random.Generator) -> "Traffic":
        """Days one after the other, each a population and its live priors."""
        n = rng.poisson(np.tile(RATE, (count, len(days))))
        raw, mass = np.zeros((2, *n.shape, K))
        for i, (day, (population, priors)) in product(range(count), enumerate(days)):
            part = slice(day * BINS, (day + 1) * BINS)
            ends = np.cumsum(n[i, part])
            labels = np.searchsorted(np.cumsum(priors)[:-1], rng.random(ends[-1]))
            images = labels * POOL + rng.integers(0, POOL, ends[-1])
            raw[i, part], mass[i, part] = population.sums(images, ends)
        return cls(n[..., None], raw, mass)


@dataclass(frozen=True, eq=False)
class World:
    """One classifier, its traffic in each scenario, and how many deployments there are."""

    recall: float
    own: Population
    site: Population
    traffic: dict[str, Traffic]
    rng: np.random.Generator

    @classmethod
    def of(cls, recall: float, deployments: int, runs: int, rng: np.random.Generator) -> "World":
        own = Population.of(recall, rng)
        site = own.adjusted(SITE)
        here, there = (own, PRIORS), (site, SITE)
        return cls(recall, own, site, {
            "no drift": Traffic.of([here] * DAYS, deployments, rng),
            "own priors": Traffic.of([there] * DAYS, deployments, rng),
            "priors change": Traffic.of([here] * (DAYS // 2) + [there] * (DAYS // 2), deployments, rng),
            "tripled": Traffic.of([here, (own, TRIPLED)], runs, rng),
        }, rng)  # fmt: skip

    def references(
        self, m: int, deployments: int, runs: int
    ) -> tuple[list[dict[str, Moments]], list[dict[str, Moments]]]:
        """Of holdouts of m images stratified by PRIORS, moments at the own priors, and of deployments at the site's."""
        n = np.maximum(np.round(m * PRIORS), 4).astype(int)
        first = np.repeat(np.arange(K) * POOL, n)
        holdouts = (first + self.rng.integers(0, POOL, n.sum()) for _ in range(deployments + runs))
        own, site = [], []
        for i, one in enumerate(holdouts):
            own.append(self.own.reference(one, n, PRIORS))
            if i < deployments:
                site.append(self.site.reference(one, n, SITE))
        return own, site


@dataclass(frozen=True, eq=False)
class Expected:
    """What an answer adds to a count, and for how many answers the reference stands: each `(D, T or 1, K)`."""

    mean: np.ndarray
    variance: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, references: list[dict[str, Moments]], quantity: str) -> "Expected":
        found = [own[quantity] for own in references]
        return cls(*(np.array([getattr(one, name) for one in found])[:, None] for name in Moments.__annotations__))

    @classmethod
    def plain(cls, m: int, shares: np.ndarray, count: int, rng: np.random.Generator) -> "Expected":
        """What the plain VST score expects: counts of a multinomial reference of m images, as if they were Poisson."""
        counted = rng.multinomial(m, shares, count)[:, None] / m
        return cls(counted, counted, np.full(counted.shape, float(m)))

    def then(self, later: "Expected", bins: int) -> "Expected":
        """For the first evaluations, and `later` for as many."""
        pairs = [(getattr(self, name), getattr(later, name)) for name in Moments.__annotations__]
        return Expected(*(np.repeat(np.concatenate(pair, axis=1), bins, axis=1) for pair in pairs))

    def __getitem__(self, part: slice) -> "Expected":
        return Expected(self.mean[part], self.variance[part], self.images[part])


def ours(world: World, m: int) -> list[dict]:
    """A row for each way to score: false alerts in 100 days of each scenario, and triplings caught."""
    deployments, runs = len(world.traffic["no drift"].n), len(world.traffic["tripled"].n)
    own, site = world.references(m, deployments, runs)
    alerts: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for quantity in ("plain", "raw", "mass"):
        if quantity == "plain":
            here = Expected.plain(m, PRIORS @ world.own.shares, deployments + runs, world.rng)
            expected = {"no drift": here, "tripled": here[deployments:]}
        else:
            here, there = Expected.of(own, quantity), Expected.of(site, quantity)
            moved = here[:deployments].then(there, DAYS // 2 * BINS)
            expected = {"no drift": here, "tripled": here[deployments:], "own priors": there, "priors change": moved}
        alerts[quantity] = {
            name: {window: firing(world.traffic[name], quantity, one[: len(world.traffic[name].n)], window)
                   for window in WINDOWS} for name, one in expected.items()}  # fmt: skip
    return [row(world.recall, m, way, [alerts[one] for one in way.split(" or ")]) for way in WAYS]


def firing(traffic: Traffic, quantity: str, expected: Expected, window: str) -> np.ndarray:
    """Alerts `(D, T, K)` on a window that have been true at two evaluations in a row."""
    counts, n = traffic.mass if quantity == "mass" else traffic.raw, traffic.n
    c, answers, e, v = (windowed(x, WINDOWS[window]) for x in (counts, n, n * expected.mean, n * expected.variance))
    small = (c >= SMALL[0] * e) & (c <= SMALL[1] * e)
    z = score(c, e, v, answers, expected.images)
    over = (np.abs(z) > LEAST_SCORES[window]) & ~small & (answers >= LEAST_ANSWERS)
    return np.concatenate([np.zeros_like(over[:, :1]), over[:, 1:] & over[:, :-1]], axis=1)


def windowed(values: np.ndarray, window: int) -> np.ndarray:
    """Sums over the last `window` evaluations, or as many as there are, along axis 1."""
    total = np.cumsum(values, axis=1, dtype=float)
    total[:, window:] = total[:, window:] - total[:, :-window]
    return total


def row(recall: float, m: int, way: str, alerts: list[dict[str, dict[str, np.ndarray]]]) -> dict:
    found: dict = {"recall": recall, "m": m, "score": way}
    for name in QUIET:
        every = [begun(one) for scenarios in alerts if name in scenarios for one in scenarios[name].values()]
        found[name] = sum(every) if every else None
    tripled = [scenarios["tripled"] for scenarios in alerts]
    found["caught"] = caught([one for windows in tripled for one in windows.values()])
    found["caught in 1h window"] = caught([windows[SHORT] for windows in tripled])
    return found


def begun(alerts: np.ndarray) -> float:
    """How many alerts begin in 100 days."""
    edges = alerts[:, 1:] & ~alerts[:, :-1]
    return float(edges.sum()) * 100 * BINS / (alerts.shape[0] * alerts.shape[1])


def caught(alerts: list[np.ndarray]) -> float:
    """The share of runs in which one of the rarest class's alerts fires on the last day."""
    return float(np.any([one[:, -BINS:, -1].any(axis=1) for one in alerts], axis=0).mean())


def theirs(world: World, m: int) -> list[dict]:
    """Evidently's and NannyML's defaults for the predicted class: alerts of chunks, which need nothing in a row.

    Evidently compares with the m images (from 1,000 on by the JS distance), NannyML with 30 clean days of production.
    """
    shares, rows = PRIORS @ world.own.shares, []
    for chunk, bins in (("hour", BINS // 24), ("day", BINS)):
        fired: dict[str, dict[str, np.ndarray]] = {}
        for name, traffic in world.traffic.items():
            counts = chunks(traffic.raw[:, -BINS:] if name == "tripled" else traffic.raw, bins)
            known = world.rng.multinomial(m, shares, len(counts))[:, None] / m
            usual, limit = nannyml_reference(world.rng, shares, bins, len(counts))
            fired[name] = {
                "Evidently, JS distance > 0.1": jensenshannon(counts, known, axis=2) > 0.1,
                "Evidently, PSI > 0.1": filled_psi(counts, known) > 0.1,
                "NannyML, JS distance > mean + 3 sd": jensenshannon(counts, usual, axis=2, base=2) > limit,
            }
        for rule in fired["tripled"]:
            quiet = {name: float(fired[name][rule].mean()) * 100 * BINS / bins for name in QUIET}
            by_day = fired["no drift"][rule].reshape(-1, BINS // bins).any(axis=1)
            found = {
                "quiet days with one": float(by_day.mean()),
                "caught": float(fired["tripled"][rule].any(axis=1).mean()),
            }
            rows.append({"recall": world.recall, "rule": rule, "chunk": chunk} | quiet | found)
    return rows


def chunks(raw: np.ndarray, bins: int) -> np.ndarray:
    """Shares `(D, chunks, K)` of raw predictions `(D, T, K)`."""
    counts = raw.reshape(len(raw), -1, bins, K).sum(axis=2)
    return counts / counts.sum(axis=2, keepdims=True)


def filled_psi(shares: np.ndarray, known: np.ndarray) -> np.ndarray:
    """With Evidently's filling of empty classes."""
    q, p = (np.where(x == 0, 1e-4, x) for x in (shares, known))
    return ((q - p) * np.log(q / p)).sum(axis=2)


def nannyml_reference(rng: np.random.Generator, shares: np.ndarray, bins: int, count: int) -> tuple[np.ndarray, ...]:
    """Shares of 30 days of answers without drift, and mean + 3 sd of their chunks' distances from them."""
    n = rng.poisson(np.tile(RATE, (count, 30))).reshape(count, -1, bins).sum(axis=2)
    counts = rng.multinomial(n, shares)
    whole = counts.sum(axis=1, keepdims=True) / n.sum(axis=1)[:, None, None]
    distances = jensenshannon(counts / n[..., None], whole, axis=2, base=2)
    return whole, distances.mean(axis=1, keepdims=True) + 3 * distances.std(axis=1, keepdims=True)


def table(rows: list[dict], columns: list[str]) -> str:
    def shown(value: object) -> str:
        if isinstance(value, float):
            return f"{value:,.0f}" if value > 99 else f"{value:.2g}" if value < 0.1 else f"{value:.3g}"
        return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join(lines + ["| " + " | ".join(shown(row[name]) for name in columns) + " |" for row in rows])


if __name__ == "__main__":
    sys.exit(main())
