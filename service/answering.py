"""Bytes in, answers out: decode → infer → calibrate → adjust → decide → count → keep, for one image or a batch."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from decision import Bundle, Decisions, ImageError, read_image
from decision.arrays import Logits
from decision.images import Pixels
from service.answer_log import AnswerLog
from service.metrics import Metrics
from service.network import Network
from service.policies import Enforced, PolicyInForce
from service.schemas import explanation, uuid7


@dataclass(frozen=True, slots=True)
class Asked:
    """One encoded image, and whether its answer is to be explained."""

    image: bytes
    explain: bool = False


class Answering:
    """Answers batches, each under one policy; any thread may."""

    def __init__(
        self, bundle: Bundle, network: Network, policies: PolicyInForce, metrics: Metrics, log: AnswerLog, *,
        max_pixels: int, threads: int,
    ) -> None:  # fmt: skip
        self._bundle, self._network, self._policies, self._metrics, self._log = bundle, network, policies, metrics, log
        self._read = partial(read_image, spec=bundle.input, max_pixels=max_pixels)
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None

    def answers(self, batch: Sequence[Asked]) -> list[dict[str, Any] | Exception]:
        """An answer for each image, as JSON has it, or its ImageError: no image can harm another."""
        enforced = self._policies.current()
        begun = time.perf_counter()
        found: list[Any] = self._decoded(batch)
        good = [i for i, pixels in enumerate(found) if not isinstance(pixels, Exception)]
        decoded = time.perf_counter()
        if good:
            raw = self._network.logits(np.stack([found[i] for i in good]))
            inferred = time.perf_counter()
            logits = enforced.policy.calibration.logits(raw)
            decisions = enforced.policy.decide_calibrated(logits)
            ids = [uuid7() for _ in good]
            seconds = (decoded - begun, inferred - decoded, time.perf_counter() - inferred)
            self._metrics.answered(enforced.policy, decisions, logits.argmax(axis=1), seconds)
            self._log.note(ids, enforced.revision, decisions, logits)
            explained = [batch[i].explain for i in good]
            for i, answer in zip(good, self._said(ids, enforced, logits, decisions, explained), strict=True):
                found[i] = answer
        return found

    def encoded(self, batch: Sequence[Asked]) -> list[bytes | Exception]:
        """`answers` as JSON."""
        return [one if isinstance(one, Exception) else orjson.dumps(one) for one in self.answers(batch)]

    def _decoded(self, batch: Sequence[Asked]) -> list[Pixels | Exception]:
        if self._decoders is None or len(batch) == 1:
            return [self._pixels(one) for one in batch]
        return list(self._decoders.map(self._pixels, batch))

    def _pixels(self, asked: Asked) -> Pixels | Exception:
        try:
            return self._read(asked.image)
        except ImageError as error:
            return error

    def _said(
        self, ids: list[str], enforced: Enforced, logits: Logits, decisions: Decisions, explained: list[bool]
    ) -> list[dict[str, Any]]:  # fmt: skip
        policy, model, revision = enforced.policy, self._bundle.id, enforced.revision
        flagged: NDArray[np.bool_] = np.logical_or.reduce(decisions.flags, axis=1)
        answers = []
        for i, (own, label, row) in enumerate(
            zip(ids, decisions.labels.tolist(), decisions.probabilities.tolist(), strict=True)
        ):
            answers.append({
                "id": own, "label": policy.label(label), "abstained": label < 0,
                "flags": policy.named(decisions.flags[i]) if flagged[i] else [],
                "probabilities": dict(zip(policy.classes, row, strict=True)), "policy_revision": revision,
                "model": model,
            })  # fmt: skip
            if explained[i]:
                answers[-1]["explanation"] = explanation(policy, logits, decisions, i).model_dump()
        return answers
