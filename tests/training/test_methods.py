from dataclasses import replace
from pathlib import Path

import pytest

from decision import load_bundle
from training.__main__ import main
from training.errors import DataError
from training.losses import CROSS_ENTROPY, Loss
from training.methods import METHODS, Method, Phase, parse_method
from training.posthoc import TauNorm
from training.sampling import NATURAL, Sampling


@pytest.mark.parametrize("name", ["two-phase-oversample", "two-phase-undersample"])
def test_two_phase_is_rebalanced_first_then_the_output_layer_at_a_tenth_on_natural_data(name: str) -> None:
    first, second = parse_method(name).phases
    assert first == Phase("rebalanced", Sampling(name.removeprefix("two-phase-")))
    assert second == Phase("natural", NATURAL, trainable="head", rate=0.1)
    assert not second.fresh


def test_decoupling_runs_in_the_opposite_order() -> None:
    first, second = parse_method("decoupled").phases
    assert first == Phase("natural")
    assert (second.sampling, second.trainable, second.fresh) == (Sampling("oversample"), "head", True)


def test_ldam_defers_its_weights_and_lowers_the_rate() -> None:
    method = parse_method("ldam-drw")
    first, second = method.phases
    assert method.head == "cosine"
    assert (first.loss, second.loss) == (Loss(margin=0.5), Loss("effective", margin=0.5))
    assert (first.length + second.length, second.rate) == (1.0, 0.1)


@pytest.mark.parametrize("name", METHODS)
def test_phases_have_names_of_their_own_and_a_source(name: str) -> None:
    method = parse_method(name)
    names = [phase.name for phase in method.phases]
    assert len(set(names)) == len(names) > 0
    assert method.source


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        ("oversample:ratio=0.5", Phase("rebalanced", Sampling("oversample", 0.5))),
        ("class-weights:weighting=effective:beta=0.99", Phase("rebalanced", loss=Loss("effective", 0.99))),
        ("class-weights:weighting=given", Phase("rebalanced", loss=Loss("given"))),
        ("focal:gamma=1", Phase("rebalanced", loss=Loss(gamma=1.0))),
        ("logit-adjusted-loss:tau=0.5", Phase("rebalanced", loss=Loss(tau=0.5))),
        ("oversample", Phase("rebalanced", Sampling("oversample"))),
    ],
)
def test_dials_are_set_by_name(spec: str, changed: Phase) -> None:
    assert parse_method(spec).phases == (changed,)


def test_tau_is_chosen_unless_it_is_given() -> None:
    assert parse_method("tau-norm").post == TauNorm(None)
    assert parse_method("tau-norm:tau=0.5").post == TauNorm(0.5)


def test_balanced_softmax_is_the_logit_adjusted_loss_at_1() -> None:
    assert parse_method("balanced-softmax").phases == parse_method("logit-adjusted-loss").phases


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nope", "expected a method of baseline, .*, got 'nope'"),
        ("baseline:ratio=1", r"a dial of baseline \(it has none\), got 'ratio=1'"),
        ("oversample:rate=1", r"a dial of oversample \(ratio=1.0\), got 'rate=1'"),
        ("oversample:ratio", "NAME:dial=value .* got 'ratio'"),
        ("oversample:ratio=0", "expected ratio above 0, at most 1, got '0'"),
        ("oversample:ratio=much", "expected ratio above 0, at most 1, got 'much'"),
        ("oversample:ratio=nan", "expected ratio above 0, at most 1, got 'nan'"),
        ("class-weights:weighting=nice", "expected weighting inverse, effective or given, got 'nice'"),
        ("class-weights:beta=1", "expected beta from 0 to below 1, got '1'"),
        ("class-weights:beta=0.99", "expected beta with weighting=effective, the one weighting that uses it"),
        ("class-weights:beta=0.99:weighting=given", "expected beta with weighting=effective"),
        ("oversample:ratio=0.5:ratio=0.2", "oversample:ratio=0.5:ratio=0.2: expected each dial once, got ratio again"),
        ("focal:gamma=-1", "expected gamma from 0 to 10, got '-1'"),
    ],
)
def test_a_wrong_spec_is_refused_by_name(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_method(spec)


def test_one_row_adds_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gentle = replace(CROSS_ENTROPY, gamma=0.5)
    row = lambda ratio=0.2: Method((Phase("gentle", Sampling("mixture", ratio), gentle),), "here")  # noqa: E731 (rows are lambdas)
    monkeypatch.setitem(METHODS, "gentle", row)

    code = main(["run", "digits", "--method", "gentle:ratio=0.3", "--epochs", "1", "--models", str(tmp_path / "models"),
                 "--runs", str(tmp_path / "runs"), "--accelerator", "cpu"])  # fmt: skip

    assert code == 0
    training = load_bundle(tmp_path / "models" / "digits").manifest.training
    assert (training["method"], training["source"]) == ("gentle:ratio=0.3", "here")
    assert [epoch["phase"] for epoch in training["curve"]] == ["gentle"]
    drawn = training["phases"][0]["drawn"].values()
    assert min(drawn) / max(drawn) == pytest.approx(0.3)
