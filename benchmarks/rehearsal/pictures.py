"""Pictures of a rehearsal: the drift of every class over time, and a recall with its band against its promise."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rehearsal.scenarios import Site

SHIFTED, FADED = "a rare class three times as often", "the watched class fades"


def draw(found: list[dict[str, Any]], site: Site, folder: Path) -> None:
    """The two scenarios that show most, where they were played."""
    played = {one["scenario"]: one for one in found}
    folder.mkdir(parents=True, exist_ok=True)
    if SHIFTED in played:
        _heatmap(played[SHIFTED], site, folder / "drift-heatmap.png")
    if FADED in played:
        _band(played[FADED], site, folder / "recall-band.png")


def _hours(one: dict[str, Any], points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    times, values = np.array(points).T
    return (times - one["begun"]) * one["scale"] / 3600, values


def _heatmap(one: dict[str, Any], site: Site, path: Path) -> None:
    """Class by time: the score of raw predictions over 24 hours, grey where there are too few answers."""
    from matplotlib.figure import Figure

    by_class = {name: _hours(one, points) for name, points in one["series"]["score"]}
    order = sorted(by_class, key=lambda name: -site.priors[site.classes.index(name)])
    grid = np.linspace(0, max(hours[-1] for hours, _ in by_class.values()), 160)
    scores = np.array([np.interp(grid, *by_class[name], left=np.nan) for name in order])
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores, aspect="auto", cmap="RdBu_r", vmin=-8, vmax=8, interpolation="nearest",
                        extent=(0, float(grid[-1]), len(order) - 0.5, -0.5))  # fmt: skip
    axes.set_facecolor("0.85")
    axes.set_yticks(
        range(len(order)), [f"{name}  {100 * site.priors[site.classes.index(name)]:.1f}%" for name in order]
    )
    axes.set_xlabel("hours (shortened)")
    axes.set_title(f"Drift score over 24 h: {site.classes[site.rare]} comes three times as often")
    figure.colorbar(image, label="z of raw predictions")
    figure.savefig(path, dpi=110)


def _band(one: dict[str, Any], site: Site, path: Path) -> None:
    """The observed recall of the promised class with its Wilson band, and the promise."""
    from matplotlib.figure import Figure

    name = site.classes[site.target]

    def of_target(kind: str) -> tuple[np.ndarray, np.ndarray]:
        return next(_hours(one, points) for own, points in one["series"][kind] if own == name)

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    (hours, low), (_, high) = of_target("recall_low"), of_target("recall_high")
    axes.fill_between(hours, low, high, alpha=0.25, label="95% band (Wilson, effective sample size)")
    axes.plot(*of_target("recall"), label="observed recall of flags")
    axes.axhline(0.85, color="0.3", linestyle="--", label="promised")
    alert = one["fired"].get(f"EquipoiseObservedRecallBelowTarget {name}")
    if alert is not None:
        axes.axvline(alert, color="tab:red", label="page")
    axes.set(
        ylim=(0, 1),
        xlabel="hours (shortened)",
        ylabel="recall",
        title=f"{name} fades between hours 8 and 16; audits notice",
    )
    axes.legend(loc="lower left", fontsize="small")
    figure.savefig(path, dpi=110)
