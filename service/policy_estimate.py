"""Priors estimated from recent answers, as a proposal that a person accepts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.policy_client import GUARDED, UNAVAILABLE, ConfigClient, Refused
from service.policy_text import table

ESTIMATED, DAY = "estimated", "24h"
UNEXPLAINED = (
    "a change of priors alone does not explain the answers (p = {:.2g}): "
    "look at images, for a camera or a class that is new"
)


@dataclass(frozen=True)
class Proposal:
    """Live priors by class, lines that show them beside those in force, and the reason that history keeps."""

    priors: dict[str, float]
    lines: list[str]
    reason: str


def estimated_priors(client: ConfigClient, window: str, *, force: bool) -> Proposal:
    """Live priors from the answers of a window like 24h.

    Raises Refused where there are none; and, unless forced, where a change of priors is not what the answers show.
    """
    found = client.drift(window)
    if found["estimated_priors"] is None:
        raise Refused(UNAVAILABLE, f"no priors can be estimated from the last {window}:", *found["not_known"])
    fit = found["label_shift"]
    if fit is not None and not fit["explained"] and not force:
        raise Refused(GUARDED, UNEXPLAINED.format(fit["p_value"]), "--force proposes the estimate all the same")
    reason = f"estimated from {window}, n = {found['kept']:,}"
    return Proposal(found["estimated_priors"], list(_lines(found, window)), reason)


def _lines(found: dict[str, Any], window: str) -> Iterator[str]:
    yield f"live priors from {found['kept']:,} of the last {window}'s {found['n']:,} answers, in % with 95% intervals"
    yield ""
    rows = [["class", "in force", "estimated"]]
    for name, own in found["classes"].items():
        live = own["estimated_prevalence"] or own["estimated_prevalence_rlls"]
        if live is not None:
            low, value, high = (f"{100 * live[key]:.3g}" for key in ("low", "value", "high"))
            rows.append([name, f"{100 * own['prior']:.3g}", f"{value} [{low}, {high}]"])
    yield from table(rows)
    yield ""
    fit = found["label_shift"]
    if fit is None:
        yield "not known whether a change of priors explains the answers: " + "; ".join(found["not_known"])
    elif fit["explained"]:
        yield f"consistent with a change of priors (p = {fit['p_value']:.2g})"
    else:
        yield UNEXPLAINED.format(fit["p_value"])
    yield ""
