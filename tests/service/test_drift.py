"""/drift against what was really sent: by two workers, through a kill, a restart, and changes of the policy."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from decision import Bundle, load_bundle, parse_policy
from decision.drift import LEAST_SCORES, js_divergence, psi, psi_score, score
from decision.expectation import QUANTITIES, expectation
from service.counted import Shift
from service.drift_schemas import DriftDocument, drift_document
from service.estimates import LiveEstimates
from service.policy_client import DONE, UNAVAILABLE, UNUSABLE
from service.policy_command import main
from service.rows import Rows
from service.snapshots import Increase
from tests.conftest import holdout, png
from tests.service.conftest import PRIORS, TOKEN, Server, put, until

FLAGGING = PRIORS | {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.2, "green": 0.5}}, "abstain_below": 0.5}


def pixels_of(logits: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Images `(n, 4, 6, 3)` whose logits are these, shifted by a constant and rounded to a 25th."""
    values = np.clip(np.rint((logits - logits.mean(axis=1, keepdims=True) + 5) * 25.5), 0, 255).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, :], (len(values), 4, 6, 3))


def logits_of(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return pixels[:, 0, 0, :].astype(np.float64) / 25.5


def images(seed: int, n: int, priors: tuple[float, ...]) -> NDArray[np.uint8]:
    """Held-out images, drawn by class."""
    known, rng = holdout(), np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(known.labels == k)) for k in rng.choice(3, n, p=priors)]
    return pixels_of(known.logits[chosen])


def send(server: Server, pixels: NDArray[np.uint8]) -> None:
    """Over several connections: every worker gets some."""
    for part in np.array_split(pixels, 8):
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for one in part:
                headers = {"Content-Type": "image/png"}
                assert client.post("/predict", content=png(one), headers=headers).status_code == 200


def drift(server: Server, window: str = "1h") -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/drift", params={"window": window}, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def by_hand(bundle: Bundle, sent: list[tuple[dict[str, Any], NDArray[np.uint8]]]) -> dict[str, Any]:
    """Observed and expected sums `(3,)` of each quantity, with the last policy's sizes of the reference."""
    sums = {quantity: np.zeros((3, 3)) for quantity in QUANTITIES}
    n = 0
    for document, pixels in sent:
        policy = bundle.policy(parse_policy(document))
        z = policy.calibration.logits(logits_of(pixels))
        decided = policy.decide_calibrated(z)
        labels = decided.labels[decided.labels >= 0]
        observed = (np.bincount(z.argmax(axis=1), minlength=3), np.bincount(labels, minlength=3),
                    decided.flags.sum(axis=0), decided.probabilities.sum(axis=0))  # fmt: skip
        found, n = expectation(bundle, policy), n + len(pixels)
        for i, quantity in enumerate(QUANTITIES):
            sums[quantity] += np.stack([observed[i], len(pixels) * found.mean[i], len(pixels) * found.variance[i]])
    return {"n": n, "sums": sums, "images": dict(zip(QUANTITIES, found.images, strict=True))}


def check(found: dict[str, Any], bundle: Bundle, sent: list[tuple[dict[str, Any], NDArray[np.uint8]]]) -> None:
    hand = by_hand(bundle, sent)
    n = hand["n"]
    assert found["n"] == n
    for quantity in QUANTITIES:
        observed, mean, variance = hand["sums"][quantity]
        z = score(observed, mean, variance, n, hand["images"][quantity])
        for k, name in enumerate(bundle.classes):
            own = found["classes"][name][quantity]
            if own is None:
                assert quantity == "flag"
                assert not bundle.policy(parse_policy(sent[-1][0])).rule.can_flag[k]
                continue
            assert own["observed"] == pytest.approx(observed[k] / n, rel=1e-5)
            assert own["expected"] == pytest.approx(mean[k] / n, rel=1e-9)
            assert own["z"] == pytest.approx(z[k], rel=1e-5, abs=1e-5), "the network computes in float32"
    observed, mean, _ = hand["sums"]["raw"]
    value = psi(observed, mean)
    assert found["psi"] == pytest.approx(value, rel=1e-5)
    assert found["psi_z"] == pytest.approx(psi_score(value, mean / n, n, hand["images"]["raw"]))
    assert found["js_divergence"] == pytest.approx(js_divergence(observed, mean))


@pytest.fixture
def bundle(tiny_model: Path) -> Bundle:
    return load_bundle(tiny_model)


def test_it_is_what_was_sent_through_a_kill_a_change_and_a_restart(
    start: Callable[..., Server], bundle: Bundle
) -> None:
    server = start().wait()
    own = tuple(bundle.calibration_priors)
    sent: list[tuple[dict[str, Any], NDArray[np.uint8]]] = [(PRIORS, images(0, 150, own))]
    send(server, sent[-1][1])
    found = drift(server)
    check(found, bundle, sent)
    assert found["window"]["hosts"] == found["window"]["starts"] == 1
    assert found["window"]["until"] - found["window"]["since"] == pytest.approx(3600, abs=1)
    assert found["verdict"] == "not enough answers: 150 of at least 200"

    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert put(client, FLAGGING).status_code == 200
    victim = min(server.worker_pids())
    psutil.Process(victim).send_signal(signal.SIGKILL)
    until(lambda: len(server.worker_pids() - {victim}) == 2)
    server.workers = 3
    server.wait()
    sent.append((FLAGGING, images(1, 120, own)))
    send(server, sent[-1][1])
    check(drift(server, "30m"), bundle, sent)

    assert server.stop() == 0
    again = start().wait()
    sent.append((FLAGGING, images(2, 80, own)))
    send(again, sent[-1][1])
    found = drift(again)
    check(found, bundle, sent)
    assert (found["window"]["hosts"], found["window"]["starts"]) == (1, 2)
    assert found["verdict"].endswith("n = 350")
    assert {one["state"] for one in found["classes"].values()} == {"within chance"}
    assert found["least_score"] == LEAST_SCORES["1h"]
    assert drift(again, "2h")["least_score"] == LEAST_SCORES["24h"]


@pytest.fixture(scope="module")
def shifted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that has seen far more blue than its priors imply."""
    server = Server(tiny_model, tmp_path_factory.mktemp("shifted")).wait()
    send(server, images(3, 400, (0.2, 0.2, 0.6)))
    time.sleep(1.5)  # answers are kept within a second
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.fixture
def policy(
    shifted: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("EQUIPOISE_URL", shifted.url)
    monkeypatch.setenv("EQUIPOISE_TOKEN", TOKEN)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return command


def test_a_shift_is_told_in_words_with_its_estimate(shifted: Server) -> None:
    found = drift(shifted)
    blue = found["classes"]["blue"]
    assert blue["state"] == "beyond chance"
    assert "× what the priors then in force imply, n = 400, beyond chance" in blue["verdict"]
    assert "configured 0.100" in blue["verdict"]
    assert found["kept"] == 400
    assert blue["estimated_prevalence_rlls"]["low"] < 0.6 < blue["estimated_prevalence_rlls"]["high"]
    assert blue["estimated_prevalence"] is None
    assert "EM is left out" in " ".join(found["not_known"]), "its probabilities are made up"
    assert blue["precision"]["low"] < blue["precision"]["value"] < blue["precision"]["high"]
    assert sum(found["estimated_priors"].values()) == pytest.approx(1)
    assert "blue" in found["verdict"]


def test_an_estimate_is_a_proposal_until_it_is_taken(policy: Callable[..., Any], shifted: Server) -> None:
    before = httpx.get(f"{shifted.url}/config").json()
    code, out, _ = policy("set", "--priors", "estimated", "--window", "1h")
    assert code == DONE
    assert "live priors from 400 of the last 1h's 400 answers" in out
    assert f"beside revision {before['revision']}, from 20 test images" in out
    assert out.endswith("a proposal: nothing is changed without --yes\n")
    assert httpx.get(f"{shifted.url}/config").json() == before
    assert policy("preview", "--priors", "estimated", "--window", "1h")[0] == DONE

    code, out, _ = policy("set", "--priors", "estimated", "--window", "1h", "--yes", "--force", "--reason", "more blue")
    assert code == DONE, out
    after = httpx.get(f"{shifted.url}/config").json()
    assert (after["revision"], after["reason"]) == (before["revision"] + 1, "more blue")
    assert after["policy"]["deployment_priors"] == pytest.approx(drift(shifted)["estimated_priors"])
    assert policy("rollback")[0] == DONE
    assert policy("set", "--priors", "estimated", "--window", "1h", "--yes", "--force")[0] == DONE
    assert httpx.get(f"{shifted.url}/config").json()["reason"] == "estimated from 1h, n = 400"
    assert policy("rollback")[0] == DONE


def test_a_shift_that_priors_do_not_explain_is_no_proposal(
    start: Callable[..., Server], policy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(workers=1).wait()
    monkeypatch.setenv("EQUIPOISE_URL", server.url)
    code, _, said = policy("set", "--priors", "estimated", "--yes")
    assert (code, said) == (UNAVAILABLE, "error: no priors can be estimated from the last 24h:\nno answers are kept\n")
    assert drift(server)["n"] == 0
    assert drift(server)["classes"]["red"]["raw"] == {"observed": None, "expected": None, "z": None}
    assert policy("set", "--priors", "estimated", "--window", "15d")[0] == UNUSABLE


def document(bundle: Bundle, raw: Shift, mass: Shift, confidence: Shift) -> DriftDocument:
    """Of counts of which blue's alone are apart from what was expected."""
    quiet = Shift(300.0, 300.0, 0.0, 1_000.0, 7_000.0)
    shifts = {"raw": [quiet, quiet, raw], "mass": [quiet, quiet, mass]}
    counted: Any = SimpleNamespace(
        n=1_000.0, increase=Increase(np.zeros(1), 0, 1, 1, 1), whole=lambda: None,
        classes=lambda quantity: shifts.get(quantity, [quiet] * 3),
        overall=lambda quantity: confidence if quantity == "confidence" else quiet,
    )  # fmt: skip
    none = LiveEstimates(0, None, None, None, None, ())
    return drift_document("m", 1, bundle.policy(), Rows.of(bundle, 3), counted, none, LEAST_SCORES["1h"])


def test_a_class_is_as_bad_as_the_worse_of_raw_predictions_and_mass(bundle: Bundle) -> None:
    """As the alert is: a larger z whose ratio is too small to tell anyone hides no smaller one that is not."""
    small, large = (Shift(observed, 400.0, z, 1_000.0, 7_000.0) for observed, z in ((440.0, 9.0), (600.0, 5.0)))
    quiet = Shift(700.0, 700.0, 0.0, 1_000.0, 7_000.0)
    for raw, mass in ((small, large), (large, small)):
        found = document(bundle, raw, mass, quiet)
        assert found.classes["blue"].state == "beyond chance"
        assert found.classes["blue"].verdict.startswith("share of *blue* 1.5×")
        assert found.verdict == "1 of 3 classes beyond chance: blue, n = 1,000"
    assert document(bundle, small, small, quiet).classes["blue"].state == "beyond chance but small"


@pytest.mark.parametrize(
    ("observed", "z", "said"),
    [(549.0, -9.0, "less"), (551.0, -9.0, None), (801.0, 9.0, "more"), (799.0, 9.0, None), (549.0, -4.5, None)],
)
def test_confidence_has_shifted_where_its_alert_would_fire(
    bundle: Bundle, observed: float, z: float, said: str | None
) -> None:
    """The doubt, here 300 expected, has to be one and a half times as much, or as little."""
    quiet = Shift(400.0, 400.0, 0.0, 1_000.0, 7_000.0)
    found = document(bundle, quiet, quiet, Shift(observed, 700.0, z, 1_000.0, 7_000.0))
    told = "" if said is None else f"answers are {said} sure than the held-out images allow for; "
    assert found.verdict == f"no class of 3 is beyond chance; {told}".removesuffix("; ") + ", n = 1,000"


@pytest.mark.parametrize("query", ["window=0s", "window=24", "window=15d", "window=-1h", "window=1h&class=red"])
def test_a_window_that_cannot_be_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/drift?{query}")
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:equipoise:problem:malformed-request"


def test_reading_it_may_need_a_token(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_PREDICT_TOKEN="a reader").wait()
    assert httpx.get(f"{server.url}/drift").status_code == 401
    assert httpx.get(f"{server.url}/drift", headers={"Authorization": "Bearer a reader"}, timeout=30).status_code == 200


def test_hosts_of_one_database_are_one(
    start: Callable[..., Server], postgres: Callable[[str], Any], tmp_path: Path, bundle: Bundle
) -> None:
    url = postgres("drift").get_uri()
    hosts = [start(state=tmp_path / name, workers=1, EQUIPOISE_DATABASE_URL=url).wait() for name in ("a", "b")]
    sent = [(PRIORS, images(seed, n, (0.6, 0.3, 0.1))) for seed, n in enumerate((70, 50))]
    for host, (_, pixels) in zip(hosts, sent, strict=True):
        send(host, pixels)
    for host in hosts:
        drift(host)  # each keeps its own counts up to now; those of others are a minute old at most
    found = [drift(host, "59m") for host in hosts]  # the report of another window is made anew
    assert [one["window"]["hosts"] for one in found] == [2, 2]
    for one in found:
        check(one, bundle, sent)


def test_pixels_are_their_logits() -> None:
    known = holdout().logits
    apart = logits_of(pixels_of(known)) - known
    assert np.abs(apart - apart.mean(axis=1, keepdims=True)).max() < 0.05
