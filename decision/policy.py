"""The policy: everything that may change at run time, as a document people write and a value that decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from decision.arrays import Flags, Labels, Logits, Priors, Probabilities, frozen, softmax, softmax_unchecked
from decision.calibration import Calibration
from decision.certificates import Certificate, Covers, Target, certify_targets
from decision.errors import Fault, PolicyError, listed, pointer
from decision.holdout import Holdout
from decision.priors import log_ratio, priors_from_mapping
from decision.rules import Cost, Divide, Flag, FlagInOrder, Rule

ABSTAIN = -1

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Document(BaseModel):
    """A part of a policy document: immutable, and no field but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ArgmaxRule(Document):
    """The most probable class."""

    kind: Literal["argmax"]


class PriorsRule(Document):
    """The class whose probability exceeds its deployment prior by the largest factor."""

    kind: Literal["priors"]


class ThresholdsRule(Document):
    """The flagged class that exceeds its threshold by the largest factor."""

    kind: Literal["thresholds"]
    thresholds: dict[str, Annotated[Number, Field(gt=0, lt=1)]] = Field(min_length=1)


class RecallRule(Document):
    """Thresholds certified for a recall of each target; the label is the first flagged class in priority order."""

    kind: Literal["recall"]
    targets: dict[str, Annotated[Number, Field(gt=0, lt=1)]] = Field(min_length=1)
    confidence: Annotated[Number, Field(gt=0, lt=1)] = 0.95
    priority: tuple[str, ...] | None = None
    covers: Covers = "flag"


class CostRule(Document):
    """The label of least expected cost: `costs[true][label]`, 1 where unnamed, 0 on the diagonal."""

    kind: Literal["cost"]
    costs: dict[str, dict[str, Annotated[Number, Field(ge=0, le=1e9)]]]


RuleDocument: TypeAlias = ArgmaxRule | PriorsRule | ThresholdsRule | RecallRule | CostRule


class PolicyDocument(Document):
    """Everything that may change at run time: whose priors, which rule, when to abstain."""

    deployment_priors: Annotated[
        Annotated[Literal["calibration", "uniform"], Tag("name")] | Annotated[dict[str, Number], Tag("mapping")],
        Discriminator(lambda given: "mapping" if isinstance(given, dict) else "name"),
    ] = "calibration"
    rule: Annotated[RuleDocument, Discriminator("kind")] = PriorsRule(kind="priors")
    abstain_below: Annotated[Number, Field(ge=0, le=1)] = 0.0


def parse_policy(document: object) -> PolicyDocument:
    """A policy document from decoded JSON; PolicyError points at every invalid field."""
    if isinstance(document, PolicyDocument):
        return document
    try:
        return PolicyDocument.model_validate(document)
    except ValidationError as invalid:
        faults = [_fault(document, cast("dict[str, object]", error)) for error in invalid.errors(include_url=False)]
        raise PolicyError(*faults) from None


def _fault(document: object, error: dict[str, object]) -> Fault:
    """Pydantic's location also names union branches, which are no place in the document: leave those out."""
    keys, here = [], document
    location = cast("Sequence[str | int]", error["loc"])
    for position, key in enumerate(location):
        if isinstance(here, dict) and key in here:
            keys.append(key)
            here = here[key]
        elif position == len(location) - 1 and error["type"] == "missing":
            keys.append(key)
    if str(error["type"]).startswith("union_tag") and isinstance(here, dict):
        keys.append("kind")
    kind = str(error["type"])
    expected = _EXPECTED.get(kind, str(error["msg"]))
    return Fault(pointer(*keys), f"{expected}, got {'nothing' if kind == 'missing' else _shown(here)}")


_EXPECTED = {  # where pydantic's words are about Python
    "missing": "expected a value",
    "extra_forbidden": "expected no such field",
    "model_type": "expected an object",
    "model_attributes_type": 'expected an object like {"kind": "priors"}',
    "union_tag_not_found": 'expected a "kind"',
    "too_short": "expected at least one entry",
}


def _shown(value: object, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[:width] + "…"


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a policy says of n images.

    labels `(n,)` index a class, -1 abstains; flags `(n, K)` are True where a class is flagged;
    probabilities `(n, K)` are calibrated and adjusted to the deployment priors.
    """

    labels: Labels
    flags: Flags
    probabilities: Probabilities


@dataclass(frozen=True, eq=False)
class Policy:
    """A compiled policy: an immutable value that turns logits into decisions.

    deployment_priors `(K,)`; shift `(K,)` = log(deployment / calibration priors) is what the adjustment adds
    to calibrated logits; the rule's thresholds t `(K,)` are on adjusted probabilities.
    """

    document: PolicyDocument
    classes: tuple[str, ...]
    calibration: Calibration
    deployment_priors: Priors
    shift: NDArray[np.float64]
    rule: Rule
    certificates: tuple[Certificate, ...] = ()

    def decide(self, logits: ArrayLike) -> Decisions:
        """Decisions for logits `(n, K)`: calibrate, adjust, flag, label, abstain.

        Law: no answer depends on its batch mates. Raises ValueError for logits of another shape, or not finite.
        """
        return self.decide_calibrated(self.calibration.logits(logits))

    def decide_calibrated(self, logits: Logits) -> Decisions:
        """`decide`, for one who has already taken `calibration.logits`."""
        probabilities = softmax_unchecked(logits + self.shift)
        flags = self.rule.flags(probabilities)
        labels = self.rule.labels(logits, probabilities, flags)
        if self.document.abstain_below > 0:
            unsure = np.maximum.reduce(probabilities, axis=1) < self.document.abstain_below
            if self.can_flag:
                unsure &= ~np.logical_or.reduce(flags, axis=1)
            labels[unsure] = ABSTAIN
        return Decisions(labels, flags, probabilities)

    @cached_property
    def can_flag(self) -> bool:
        """Whether any class may be flagged."""
        return bool(self.rule.can_flag.any())

    @property
    def thresholds(self) -> dict[str, float]:
        """The threshold of each class that has one."""
        return {name: t for name, t in self.by_class(self.rule.thresholds).items() if not np.isnan(t)}

    def by_class(self, values: NDArray[np.float64]) -> dict[str, float]:
        """One row `(K,)` with its classes' names."""
        return dict(zip(self.classes, values.tolist(), strict=True))

    def named(self, flags: NDArray[np.bool_]) -> list[str]:
        """The classes that are flagged in one row `(K,)`."""
        return [name for name, flagged in zip(self.classes, flags.tolist(), strict=True) if flagged]

    def label(self, label: int) -> str | None:
        """The class that a label names, None for an abstention."""
        return None if label == ABSTAIN else self.classes[label]


def compile_policy(
    document: PolicyDocument, classes: tuple[str, ...], calibration: Calibration, calibration_priors: Priors,
    holdout: Holdout | None = None, *, seed: int = 0,
) -> Policy:  # fmt: skip
    """The policy that a document means for these classes; PolicyError where it cannot mean one.

    The rule `recall` takes its thresholds from the holdout, at the deployment priors. Raises NotCertifiable.
    """
    deployment = deployment_priors(document, classes, calibration_priors)
    shift = log_ratio(from_=calibration_priors, to=deployment)

    def policy(rule: Rule, certificates: Sequence[Certificate] = ()) -> Policy:
        return Policy(document, classes, calibration, frozen(deployment), frozen(shift), rule, tuple(certificates))

    match document.rule:
        case ArgmaxRule():
            return policy(Divide(np.full(len(classes), 1.0 / len(classes)), shift))
        case PriorsRule():
            return policy(Divide(deployment, -np.log(calibration_priors)))
        case ThresholdsRule(thresholds=given):
            _require_known(given, classes, "rule", "thresholds")
            return policy(Flag(np.array([given.get(name, np.nan) for name in classes])))
        case CostRule(costs=costs):
            return policy(Cost(_cost_matrix(costs, classes)))
        case RecallRule() as rule:
            targets = _targets(rule, classes, deployment)
            if holdout is None:
                raise PolicyError(Fault("/rule/kind", "the rule 'recall' needs held-out images"))
            adjusted = softmax(calibration.logits(holdout.logits) + shift)
            certificates = certify_targets(targets, holdout, adjusted, deployment, confidence=rule.confidence,
                                           covers=rule.covers, seed=seed)  # fmt: skip
            thresholds = np.full(len(classes), np.nan)
            for target, certificate in zip(targets, certificates, strict=True):
                thresholds[target.k] = certificate.threshold
            return policy(FlagInOrder(thresholds, tuple(target.k for target in targets)), certificates)


def deployment_priors(document: PolicyDocument, classes: tuple[str, ...], calibration_priors: Priors) -> Priors:
    """Those `(K,)` that a document means; PolicyError where it names others than these classes."""
    match document.deployment_priors:
        case "calibration":
            return calibration_priors
        case "uniform":
            return np.full(len(classes), 1.0 / len(classes))
        case given:
            return priors_from_mapping(given, classes, at="/deployment_priors")


def flaggable(document: PolicyDocument, classes: tuple[str, ...]) -> Flags:
    """Which classes a compiled document may flag `(K,)`: those of `Rule.can_flag`, known without compiling it."""
    match document.rule:
        case ThresholdsRule(thresholds=named) | RecallRule(targets=named):
            return np.array([name in named for name in classes])
    return np.zeros(len(classes), np.bool_)


def _targets(rule: RecallRule, classes: tuple[str, ...], deployment_priors: Priors) -> list[Target]:
    """The targets in order of priority: as given, or the rarest first under the deployment priors."""
    _require_known(rule.targets, classes, "rule", "targets")
    if rule.priority is None:
        order = sorted((classes.index(name) for name in rule.targets), key=lambda k: (deployment_priors[k], k))
    elif sorted(rule.priority) == sorted(rule.targets):
        order = [classes.index(name) for name in rule.priority]
    else:
        came = f"expected each of {listed(rule.targets)} once, got {listed(rule.priority)}"
        raise PolicyError(Fault("/rule/priority", came))
    return [Target(k, classes[k], rule.targets[classes[k]]) for k in order]


def _cost_matrix(costs: dict[str, dict[str, float]], classes: tuple[str, ...]) -> NDArray[np.float64]:
    """`(K, K)`, true by label."""
    _require_known(costs, classes, "rule", "costs")
    matrix = 1.0 - np.eye(len(classes))
    for true, row in costs.items():
        _require_known(row, classes, "rule", "costs", true)
        for label, cost in row.items():
            if label == true and cost != 0:
                raise PolicyError(Fault(pointer("rule", "costs", true, label), f"a right label costs 0, got {cost}"))
            matrix[classes.index(true), classes.index(label)] = cost
    return matrix


def _require_known(given: Iterable[str], classes: tuple[str, ...], *keys: str) -> None:
    detail = f"unknown class; expected one of {listed(classes)}"
    if unknown := [Fault(pointer(*keys, name), detail) for name in given if name not in classes]:
        raise PolicyError(*unknown)
