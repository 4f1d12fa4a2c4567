"""Bytes in, answers out: decode → infer → calibrate → adjust → decide → say; then count → keep. A batch at a time."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decision import Bundle, ImageError, TooManyPixels, read_image
from decision.images import Images, Pixels
from service.answer_log import AnswerLog
from service.asked import Asked, Decided
from service.batcher import LARGEST_BATCH
from service.metrics import Metrics
from service.network import Network
from service.policies import PolicyInForce
from service.schemas import uuid7
from service.work import Postponed, Worked

LIGHT_PIXELS = 1 << 19  # decoded within a few milliseconds, whatever it is


class Answering:
    """Answers batches, each under one policy; any thread may."""

    def __init__(
        self, bundle: Bundle, network: Network, policies: PolicyInForce, metrics: Metrics, log: AnswerLog, *,
        max_pixels: int, threads: int,
    ) -> None:  # fmt: skip
        self._bundle, self._network, self._policies, self._metrics, self._log = bundle, network, policies, metrics, log
        self._max_pixels = max_pixels
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None

    def answers(self, batch: Sequence[Asked[Any]], *, light: bool = False) -> Worked[Any]:
        """What each request is told, or its ImageError: no request can harm another, and no part of one counts.

        Counted and kept is what is answered `afterwards`: nobody waits for that. Where it is to be `light`, images of
        more than LIGHT_PIXELS are postponed.
        """
        enforced = self._policies.current()
        begun = time.perf_counter()
        found: list[Any] = self._images(batch, light)
        good = [i for i, images in enumerate(found) if not isinstance(images, Exception)]
        if not good:
            return Worked(found)
        pixels = found[good[0]] if len(good) == 1 else np.concatenate([found[i] for i in good])
        decoded = time.perf_counter()
        raw = self._logits(pixels)
        inferred = time.perf_counter()
        logits = enforced.policy.calibration.logits(raw)
        decisions = enforced.policy.decide_calibrated(logits)
        ids = [uuid7() for _ in range(len(raw))]
        seconds = (decoded - begun, inferred - decoded, time.perf_counter() - inferred)
        decided = Decided(ids, enforced.policy, enforced.revision, self._bundle.id, logits, decisions)
        first = 0
        for i in good:
            found[i] = batch[i].said(decided, first)
            first += batch[i].n
        return Worked(found, partial(self._record, decided, seconds))

    def _record(self, decided: Decided, seconds: Sequence[float]) -> None:
        self._metrics.answered(decided.policy, decided.decisions, decided.logits.argmax(axis=1), seconds)
        self._log.note(decided.ids, decided.revision, decided.decisions, decided.logits)

    def _images(self, batch: Sequence[Asked[Any]], light: bool) -> list[Images | ImageError | Postponed]:
        encoded = [image for asked in batch for image in asked.encoded]
        each = self._decoders.map if self._decoders and len(encoded) > 1 else map
        limit = min(LIGHT_PIXELS, self._max_pixels) if light else self._max_pixels
        decoded = iter(each(partial(self._pixels, limit), encoded))
        found: list[Images | ImageError | Postponed] = []
        for asked in batch:
            try:
                found.append(asked.images(decoded))
            except ImageError as error:
                found.append(Postponed() if light and isinstance(error, TooManyPixels) else error)
        return found

    def _pixels(self, limit: int, image: bytes) -> Pixels | ImageError:
        try:
            return read_image(image, self._bundle.input, max_pixels=limit)
        except ImageError as error:
            return error

    def _logits(self, pixels: Images) -> NDArray[np.float32]:
        """Of any number of images, a batch after the other: memory does not grow with their number."""
        if len(pixels) <= LARGEST_BATCH:
            return self._network.logits(pixels)
        batches = range(0, len(pixels), LARGEST_BATCH)
        return np.concatenate([self._network.logits(pixels[i : i + LARGEST_BATCH]) for i in batches])
