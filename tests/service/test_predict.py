import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from decision import load_bundle, read_image
from tests.conftest import CLASSES, noise, png
from tests.service.conftest import Server, put, scrape, total, until


@pytest.fixture(autouse=True)
def _default_policy(client: httpx.Client) -> None:
    assert put(client, {}).status_code == 200


RED = np.full((4, 6, 3), [255, 0, 0], dtype=np.uint8)


def test_an_answer_by_mental_arithmetic(client: httpx.Client) -> None:
    revision = client.get("/config").json()["revision"]
    answer = client.post("/predict", files={"image": ("red.png", png(RED), "image/png")}).json()

    z = np.array([10.0, 0.0, 0.0]) / 2 + [0.5, 0.0, -0.5]  # T = 2, b = (0.5, 0, -0.5), no shift of priors
    p = np.exp(z) / np.exp(z).sum()
    assert uuid.UUID(answer.pop("id")).version == 7
    assert answer.pop("probabilities") == pytest.approx(dict(zip(CLASSES, p, strict=True)), rel=1e-6)
    model = answer.pop("model")
    assert model.startswith("tiny:")
    assert answer == {"label": "red", "abstained": False, "flags": [], "policy_revision": revision}


@pytest.mark.parametrize("content_type", ["image/png", "image/jpg", "application/octet-stream", None])
def test_the_bytes_as_body_whatever_they_are_called(client: httpx.Client, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert client.post("/predict", content=png(RED), headers=headers).json()["label"] == "red"


def test_explain_shows_how_the_answer_came_about(client: httpx.Client) -> None:
    answer = client.post("/predict?explain=true", content=png(RED)).json()
    explained = answer["explanation"]
    assert explained["adjusted"] == answer["probabilities"]
    assert explained["calibrated"] == pytest.approx(explained["adjusted"], rel=1e-9)
    assert explained["thresholds"] == pytest.approx({"red": 0.6, "green": 0.3, "blue": 0.1})
    for name in CLASSES:
        assert explained["ratios"][name] == explained["adjusted"][name] / explained["thresholds"][name]


def test_200_images_get_exactly_the_offline_answers(client: httpx.Client, server: Server, tiny_model: Path) -> None:
    bundle = load_bundle(tiny_model)
    policy = bundle.policy(client.get("/config").json()["policy"])
    session = onnxruntime.InferenceSession(bundle.network, providers=["CPUExecutionProvider"])
    for seed in range(200):
        kind = ("PNG", "JPEG", "WEBP", "BMP")[seed % 4]
        data = png(noise(seed, (4 + seed % 5, 6 + seed % 7, 3)), kind)
        answer = client.post("/predict", files={"image": data}).json()
        offline = policy.decide(session.run(None, {"image": read_image(data, bundle.input)[None]})[0])
        assert answer["label"] == policy.label(offline.labels[0])
        assert list(answer["probabilities"].values()) == offline.probabilities[0].tolist()


def test_ids_are_distinct_and_sort_by_time(client: httpx.Client) -> None:
    ids = [client.post("/predict", content=png(RED)).json()["id"] for _ in range(5)]
    assert len(set(ids)) == 5
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)  # 48 bits of milliseconds


def test_bentomls_own_client_can_call_predict(server: Server, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png(RED))
    program = (
        "import bentoml, pathlib, sys\n"
        "with bentoml.SyncHTTPClient(sys.argv[1]) as client:\n"
        "    print(client.predict(image=pathlib.Path(sys.argv[2]))['label'])\n"
    )
    command = [sys.executable, "-c", program, server.url, str(tmp_path / "red.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["red"], done.stderr


def test_docs_json_lists_every_route_and_names_no_other_host(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    listed = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert listed == {
        ("/predict", "post"), ("/predict/batch", "post"),
        ("/config", "get"), ("/config", "put"), ("/config", "patch"), ("/config/preview", "post"),
        ("/config/history", "get"), ("/config/rollback", "post"), ("/feedback", "post"),
        ("/audit-sample", "get"), ("/quality", "get"), ("/drift", "get"), ("/model", "get"), ("/metrics", "get"),
        ("/livez", "get"), ("/healthz", "get"), ("/readyz", "get"),
        ("/v2", "get"), ("/v2/health/live", "get"), ("/v2/health/ready", "get"),
        *((f"/v2/models/{{name}}{version}{tail}", method) for version in ("", "/versions/{version}")
          for tail, method in (("", "get"), ("/ready", "get"), ("/infer", "post"))),
    }  # fmt: skip
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/png", "application/octet-stream"} <= set(body)
    rules = document["paths"]["/config"]["put"]["requestBody"]["content"]["application/json"]["schema"]["properties"][
        "rule"
    ]
    kinds = [rule["properties"]["kind"]["const"] for rule in rules["oneOf"]]
    assert kinds == ["argmax", "priors", "thresholds", "recall", "cost"]
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        here = document
        for key in reference.split("/"):
            here = here[key]
    page = client.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    assert client.get("/static_content/swagger-ui-bundle.js").status_code == 200


def test_the_model_card_is_the_manifest(client: httpx.Client, tiny_model: Path) -> None:
    assert client.get("/model").json() == load_bundle(tiny_model).manifest.model_dump(mode="json")


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["model"].startswith("tiny:")


def test_a_large_image_holds_nobody_up(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_THREADS="1").wait()
    small, large = png(noise(0)), png(np.zeros((6000, 8000, 3), np.uint8))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(50):  # so quick that they are answered on the event loop
            client.post("/predict", content=small)
        sending = threading.Thread(
            target=httpx.post, args=(f"{server.url}/predict",), kwargs={"content": large, "timeout": 60}
        )
        sending.start()
        until(lambda: total(scrape(server.url), "equipoise_batch_size_sum") == 51)
        assert client.post("/predict", content=small).status_code == 200
        assert sending.is_alive(), "it takes long, and another was answered meanwhile"
        sending.join()
