"""What an answer is: pure functions and frozen values between a network's logits and a decision.

    logits z ─▶ calibrate: softmax(z / T + b) ─▶ adjust: p' ∝ p · deployment / calibration ─▶ decide: flags, label

Arrays are `(batch, classes)`, float64, never mutated. Probabilities from `Calibration` are under
`calibration_priors`, adjusted probabilities under `deployment_priors`; thresholds are compared with
adjusted probabilities, and `p' >= t` accepts. numpy, scipy.special, Pillow (images) and pydantic (documents) only.
"""

from decision.arrays import softmax
from decision.bundle import Bundle, Manifest, load_bundle, save_bundle
from decision.calibration import Calibration
from decision.certificates import Certificate, NotCertifiable, certify
from decision.errors import (
    BrokenImage,
    BundleError,
    Fault,
    ImageError,
    PolicyError,
    TooManyPixels,
    UnsupportedImage,
)
from decision.expectation import Expectation, expectation
from decision.guard import objections
from decision.holdout import Holdout
from decision.images import InputSpec, decode, read_image, to_input
from decision.intervals import Interval
from decision.label_shift import Known, NotIdentifiable, PriorsEstimate, estimate_priors
from decision.label_shift_fit import LabelShiftFit, label_shift_fit
from decision.policy import ABSTAIN, Decisions, Policy, PolicyDocument, parse_policy
from decision.preview import Comparison, Figures, Preview, preview
from decision.priors import adjust
from decision.replay import Replay, Shares, replay
from decision.verdict import Verdict, verdict

__all__ = [
    "ABSTAIN", "BrokenImage", "Bundle", "BundleError", "Calibration", "Certificate", "Comparison", "Decisions",
    "Expectation", "Fault", "Figures", "Holdout", "ImageError", "InputSpec", "Interval", "Known", "LabelShiftFit",
    "Manifest", "NotCertifiable", "NotIdentifiable", "Policy", "PolicyDocument", "PolicyError", "Preview",
    "PriorsEstimate", "Replay", "Shares", "TooManyPixels", "UnsupportedImage", "Verdict", "adjust", "certify",
    "decode", "estimate_priors", "expectation", "label_shift_fit", "load_bundle", "objections", "parse_policy",
    "preview", "read_image", "replay", "save_bundle", "softmax", "to_input", "verdict",
]  # fmt: skip
