"""A change of policy as an event: previewed, guarded, merged, written down, acknowledged, and taken back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from decision import Policy, load_bundle, objections, preview
from tests.conftest import noise, png
from tests.service.conftest import ARGMAX, PRIORS, TOKEN, Server, put, until

BEARER = {"Authorization": f"Bearer {TOKEN}"}
WRITES = [
    ("PUT", "/config", ARGMAX),
    ("PATCH", "/config", {"abstain_below": 0.1}),
    ("POST", "/config/rollback", {"revision": 1}),
]
RECALL = PRIORS | {"rule": {"kind": "recall", "targets": {"red": 0.6}}}


@pytest.fixture(autouse=True)
def start_from_priors(client: httpx.Client) -> None:
    assert put(client, PRIORS).status_code == 200


@pytest.fixture
def etag(client: httpx.Client) -> str:
    return client.get("/config").headers["etag"]


def send(
    client: httpx.Client, method: str, path: str, body: Any, etag: str | None = None,
    headers: dict[str, str] | None = None, **params: str,
) -> httpx.Response:  # fmt: skip
    condition = {} if etag is None else {"If-Match": etag}
    return client.request(method, path, json=body, headers=BEARER | condition | (headers or {}), params=params)


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:equipoise:problem:{kind}"
    return document


# Reading


def test_who_has_it_already_is_told_so(client: httpx.Client, etag: str) -> None:
    for tags in (etag, f'"0", {etag}', f"W/{etag}", "*"):
        answer = client.get("/config", headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert client.get("/config", headers={"If-None-Match": '"0"'}).status_code == 200


def test_a_misspelled_switch_is_refused(client: httpx.Client, etag: str) -> None:
    for method, path, body in WRITES:
        assert (
            "dryrun" in problem(send(client, method, path, body, etag, dryrun="1"), 400, "malformed-request")["detail"]
        )
    assert client.get("/config").headers["etag"] == etag


# PATCH


def test_a_patch_changes_what_it_names(client: httpx.Client, etag: str) -> None:
    answer = send(client, "PATCH", "/config", {"abstain_below": 0.05}, etag, reason="a little")
    assert answer.status_code == 200, answer.text
    assert answer.json()["policy"] == PRIORS | {"abstain_below": 0.05}
    assert (answer.json()["reason"], answer.json()["actor"]) == ("a little", "admin")
    answer = send(client, "PATCH", "/config", {"abstain_below": None, "rule": {"kind": "argmax"}},
                  answer.headers["etag"], force="true")  # fmt: skip
    assert answer.json()["policy"] == ARGMAX


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"rule": {"kind": "nonsense"}}, "/rule/kind"),
        ({"abstain_below": "high"}, "/abstain_below"),
        ({"abstain": 0.5}, "/abstain"),
        ({"deployment_priors": {"red": 0.5}}, "/deployment_priors"),
        ([], ""),
    ],
)
def test_a_patch_that_makes_no_policy_is_refused_by_pointer(
    client: httpx.Client, etag: str, patch: Any, pointer: str
) -> None:
    document = problem(send(client, "PATCH", "/config", patch, etag), 422, "impossible-policy")
    assert document["errors"][0]["pointer"].startswith(pointer)
    assert client.get("/config").headers["etag"] == etag


# Conditions


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_writer_must_know_what_it_changes(client: httpx.Client, etag: str, method: str, path: str, body: Any) -> None:
    problem(send(client, method, path, body), 428, "precondition-required")
    for stale in ('"0"', "0", f"W/{etag}", etag.strip('"')):
        answer = send(client, method, path, body, stale)
        document = problem(answer, 412, "stale-revision")
        assert document["current"] == client.get("/config").json()
        assert answer.headers["etag"] == etag == f'"{document["revision"]}"'
    assert client.get("/config").headers["etag"] == etag


# Preview


def expected(tiny_model: Any, document: Any, against: Any) -> tuple[Policy, Any, tuple[str, ...]]:
    bundle = load_bundle(tiny_model)
    policy, other = bundle.policy(document), bundle.policy(against)
    found = preview(bundle, policy, against=other)
    return policy, found, objections(found.comparison, policy, other)


def test_a_preview_says_what_decision_says(client: httpx.Client, etag: str, tiny_model: Any) -> None:
    document = RECALL | {"deployment_priors": "uniform"}
    answer = client.post("/config/preview", json=document)
    assert answer.status_code == 200, answer.text
    came = answer.json()
    policy, found, said = expected(tiny_model, document, PRIORS)
    assert came["policy"] == policy.document.model_dump(mode="json")
    assert came["thresholds"] == policy.thresholds
    assert came["certificates"][0]["recall"] == 0.6
    assert came["objections"] == list(said)
    assert came["changed"] == vars(found.comparison.changed)
    assert f'"{came["revision"]}"' == etag
    for part, figures in (
        ("figures", found.policy),
        ("against", found.comparison.against),
        ("difference", found.comparison.difference),
    ):
        for k, name in enumerate(policy.classes):
            assert came[part]["recall"][name] == vars(figures.recall.at(k))
            assert came[part]["label_share"][name] == vars(figures.label_share.at(k))
        assert came[part]["cost"] == vars(figures.cost)
        assert came[part]["confusion"]["value"] == figures.confusion.value.tolist()
    assert list(came["figures"]["flag_recall"]) == ["red"]
    assert came["against"]["flag_recall"] == {}
    assert sum(move["share"] for move in came["moves"]) == pytest.approx(found.comparison.changed.value)
    assert client.get("/config").headers["etag"] == etag


def test_a_dry_run_is_a_preview(client: httpx.Client, etag: str) -> None:
    whole = send(client, "PUT", "/config", ARGMAX, etag, dry_run="true")
    part = send(client, "PATCH", "/config", {"rule": {"kind": "argmax"}}, etag, dry_run="1")
    assert whole.json() == part.json() == client.post("/config/preview", json=ARGMAX).json() | {"dry_run": True}
    problem(send(client, "PUT", "/config", {"rule": 1}, etag, dry_run="true"), 422, "impossible-policy")
    assert client.get("/config").headers["etag"] == etag


def test_previews_follow_the_policy_in_force(client: httpx.Client) -> None:
    before = client.post("/config/preview", json=ARGMAX).json()
    assert put(client, ARGMAX).status_code == 200
    after = client.post("/config/preview", json=ARGMAX).json()
    assert before["changed"]["value"] > 0
    assert (after["changed"]["value"], after["revision"]) == (0, before["revision"] + 1)


# The guard


def test_a_large_change_needs_force(client: httpx.Client, etag: str, tiny_model: Any) -> None:
    document = PRIORS | {"abstain_below": 1.0}
    _, found, said = expected(tiny_model, document, PRIORS)
    assert found.comparison.changed.value > 0.2
    answer = problem(put(client, document, force="false"), 409, "guarded-change")
    assert answer["preview"] == client.post("/config/preview", json=document).json() | {"answers": None}
    assert answer["preview"]["objections"] == list(said)
    assert client.get("/config").headers["etag"] == etag
    assert put(client, document, force="true").status_code == 200
    assert client.get("/config/history?limit=1").json()["revisions"][0]["preview"]["forced"] is True


def test_a_certified_recall_is_not_dropped_unasked(client: httpx.Client) -> None:
    assert put(client, RECALL, force="true").status_code == 200
    answer = problem(put(client, PRIORS, force="false"), 409, "guarded-change")
    assert "red: the certified recall of 0.6 would be lost" in answer["detail"]
    assert put(client, RECALL | {"abstain_below": 1e-9}, force="false").status_code == 200


# History


def history(client: httpx.Client, limit: int = 100) -> Iterator[dict[str, Any]]:
    url: str | None = f"/config/history?limit={limit}"
    while url:
        page = client.get(url).json()
        assert len(page["revisions"]) <= limit
        yield from page["revisions"]
        url = page["next"]


def test_history_has_every_revision_once_newest_first(client: httpx.Client) -> None:
    for n in range(5):
        put(client, PRIORS | {"abstain_below": n / 1000}, reason=f"step {n}")
    last = client.get("/config").json()["revision"]
    for limit in (1, 3, 100):
        assert [entry["revision"] for entry in history(client, limit)] == list(range(last, 0, -1))
    unasked = client.get("/config/history").json()["revisions"]
    assert [entry["revision"] for entry in unasked] == list(range(last, 0, -1))[:20]
    newest = next(history(client))
    assert {name: newest[name] for name in ("actor", "reason", "event", "policy")} == {
        "actor": "admin", "reason": "step 4", "event": "change", "policy": PRIORS | {"abstain_below": 0.004},
    }  # fmt: skip
    assert newest["preview"]["changed"]["value"] == 0
    assert newest["preview"]["figures"]["recall"].keys() == {"red", "green", "blue"}
    first = list(history(client))[-1]
    assert (first["actor"], first["event"], first["preview"]) == ("system", "first", None)


def test_certificates_are_kept_with_their_revision(client: httpx.Client) -> None:
    now = put(client, RECALL).json()
    assert next(history(client))["certificates"] == now["certificates"] != []


def test_a_revision_keeps_what_the_holdout_says_of_its_policy(client: httpx.Client, tiny_model: Path) -> None:
    put(client, ARGMAX)
    figures = next(history(client))["preview"]["figures"]
    bundle = load_bundle(tiny_model)
    test = bundle.holdout.part("test")
    labels = bundle.policy(ARGMAX).decide(test.logits).labels
    for k, name in enumerate(bundle.classes):
        own = test.labels == k
        recall = np.average(labels[own] == k, weights=test.shares[own])
        assert figures["recall"][name]["value"] == pytest.approx(recall)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "before=0", "before=-1", "limit=²", "page=2"])
def test_history_s_pages_are_asked_for_properly(client: httpx.Client, query: str) -> None:
    problem(client.get(f"/config/history?{query}"), 400, "malformed-request")


# Rollback


def test_a_rollback_is_a_new_revision_with_the_old_policy(client: httpx.Client) -> None:
    good = put(client, PRIORS).json()
    worse = put(client, PRIORS | {"abstain_below": 1.0})
    answer = send(client, "POST", "/config/rollback", {"revision": good["revision"]}, worse.headers["etag"])
    assert answer.status_code == 200, answer.text  # the guard would have stopped it
    assert answer.json() == client.get("/config").json()
    assert answer.json()["policy"] == good["policy"]
    assert answer.json()["revision"] == good["revision"] + 2
    assert (answer.json()["event"], answer.json()["reason"]) == ("rollback", f"back to revision {good['revision']}")
    newest = next(history(client))
    assert newest["preview"]["changed"]["value"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"revision": 10**6}, "/revision"), ({"revision": 0}, "/revision"), ({"revision": "3"}, "/revision"),
     ({"revision": True}, "/revision"), ({"revision": 10**30}, "/revision"), ({}, "/revision"), ([], ""),
     ({"revision": 1, "force": True}, "/force")],
)  # fmt: skip
def test_a_rollback_names_a_revision_there_was(client: httpx.Client, etag: str, body: Any, pointer: str) -> None:
    document = problem(send(client, "POST", "/config/rollback", body, etag), 422, "impossible-policy")
    assert document["errors"][0]["pointer"] == pointer
    assert client.get("/config").headers["etag"] == etag


# Prefer


@pytest.mark.parametrize(("prefer", "applied"), [
    ("wait=5", "wait=5"), ("respond-async, wait=3", "wait=3"), ("WAIT = 2", "wait=2"), ("wait=99", "wait=30"),
    ("wait=soon", None), ("wait=-1", None), ("", None),
])  # fmt: skip
def test_one_host_has_it_in_force_at_once(client: httpx.Client, etag: str, prefer: str, applied: str | None) -> None:
    answer = send(client, "PUT", "/config", PRIORS, etag, {"Prefer": prefer})
    assert (answer.status_code, answer.headers.get("preference-applied")) == (200, applied)


# Answers


def test_a_preview_replays_the_last_answers(start: Callable[..., Server]) -> None:
    document = PRIORS | {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.05}}}
    images = [png(noise(seed)) for seed in range(60)]
    with httpx.Client(base_url=start(workers=1).wait().url, timeout=30) as client:

        def labels() -> list[str | None]:
            return [client.post("/predict", content=image).json()["label"] for image in images]

        def replayed() -> Any:
            return client.post("/config/preview", json=document).json()["answers"]

        assert replayed() is None, "there are none yet"
        before = labels()
        until(lambda: (replayed() or {"n": 0})["n"] == 60)
        answers = replayed()
        dry = send(client, "PUT", "/config", document, "*", dry_run="1").json()
        assert dry["answers"] == answers
        assert put(client, document).status_code == 200
        after = labels()
    changed = sum(was != now for was, now in zip(before, after, strict=True))
    assert changed > 0
    assert answers["changed"]["value"] == changed / 60
    assert sum(move["count"] for move in answers["moves"]) == changed
    for part, given in (("against", before), ("policy", after)):
        for name, share in answers[part]["label_share"].items():
            assert share == given.count(name) / 60
    assert answers["against"]["flagged_share"] == {}
    assert list(answers["policy"]["flagged_share"]) == ["blue"]
    assert answers["policy"]["flagged_share"]["blue"] > 0
