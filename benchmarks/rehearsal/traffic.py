"""Who comes: a bundle's own test images at a bounded rate, and the labels of those that an audit asks for."""

import io
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rehearsal.scenarios import Pixels, Scenario, Site

SENDERS = 4
AUDITED_AT_ONCE = 60
TOKEN = "of a rehearsal"


@dataclass(frozen=True, eq=False)
class Images:
    """Test images `(n, height, width, channels)` and their classes `(n,)`."""

    pixels: Pixels
    labels: NDArray[np.int64]

    def one_of(self, label: int, rng: np.random.Generator) -> Pixels:
        rows = np.flatnonzero(self.labels == label)
        image: Pixels = self.pixels[rng.choice(rows)]
        return image


@dataclass
class Traffic:
    """A scenario's answers: the truth by id, and how many got which status."""

    url: str
    site: Site
    images: Images
    scenario: Scenario
    rate: float
    seconds: float
    truth: dict[str, int | None] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    def run(self, seed: int) -> None:
        """Send at the rate for as long as the scenario takes, and label what audits draw; open loop."""
        waiting: queue.Queue[tuple[bytes, int | None] | None] = queue.Queue(maxsize=SENDERS * 8)
        senders = [threading.Thread(target=self._send, args=(waiting,)) for _ in range(SENDERS)]
        over = threading.Event()
        auditor = threading.Thread(target=self._label, args=(over,))
        for thread in (*senders, auditor):
            thread.start()
        rng, begun, changed = np.random.default_rng(seed), time.monotonic(), False
        for number in range(int(self.rate * self.seconds)):
            time.sleep(max(0.0, begun + number / self.rate - time.monotonic()))
            at = number / (self.rate * self.seconds)
            if at > 0.5 and self.scenario.change is not None and not changed:
                put_policy(self.url, self.scenario.change(self.site))
                changed = True
            label = int(rng.choice(len(self.site.classes), p=self.scenario.mix(self.site, at)))
            pixels, truth = self.scenario.seen(self.site, at, self.images.one_of(label, rng), label, rng)
            waiting.put((png(pixels), truth))
        for _ in senders:
            waiting.put(None)
        for thread in senders:
            thread.join()
        over.set()
        auditor.join()

    def _send(self, waiting: "queue.Queue[tuple[bytes, int | None] | None]") -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while (item := waiting.get()) is not None:
                answer = client.post("/predict", content=item[0], headers={"Content-Type": "image/png"})
                self.statuses[answer.status_code] += 1
                if answer.is_success:
                    self.truth[answer.json()["id"]] = item[1]

    def _label(self, over: threading.Event) -> None:
        """Label what the service asks for, as somebody with the truth at hand."""
        every = self.seconds / 20
        with httpx.Client(base_url=self.url, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            while not over.wait(every):
                asked = {"n": str(AUDITED_AT_ONCE), "design": "stratified", "window": f"{max(5, round(every))}s"}
                ids = client.get("/audit-sample", params=asked).raise_for_status().json()["ids"]
                known = [(one["id"], self.truth.get(one["id"])) for one in ids]
                items = [{"id": own, "label": self.site.classes[k]} for own, k in known if k is not None]
                if items:
                    client.post("/feedback", json={"items": items}).raise_for_status()


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def put_policy(url: str, document: object) -> None:
    """Put a policy in force, whatever the guard says."""
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        headers = {"If-Match": client.get("/config").headers["etag"]}
        client.put("/config", json=document, headers=headers, params={"force": "true"}).raise_for_status()
