"""Batches padded for a GPU give what the session itself gives; on the CPU here, with the same code."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from decision.bundle import INPUT_NAME, OUTPUT_NAME
from service.batcher import LARGEST_BATCH
from service.network import BUCKETS, Padded
from tests.conftest import SPEC, channel_means


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(channel_means(), providers=["CPUExecutionProvider"])


def pixels(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, SPEC.height, SPEC.width, 3), dtype=np.uint8)


def test_the_buckets_end_with_the_largest_batch() -> None:
    assert BUCKETS == (1, 2, 4, 8, 16, 32, 64)
    assert BUCKETS[-1] == LARGEST_BATCH


def test_a_padded_batch_of_any_size_after_any_other(session: onnxruntime.InferenceSession) -> None:
    padded = Padded(session, SPEC, "cpu")
    kept = []
    for seed, n in enumerate([64, 33, 1, 2, 3, 64, 5, 8, 7, 63, 1]):
        given = pixels(n, seed)
        found = padded.logits(given)
        np.testing.assert_array_equal(found, session.run([OUTPUT_NAME], {INPUT_NAME: given})[0])
        kept.append((found, found.copy()))
    for found, then in kept:
        np.testing.assert_array_equal(found, then)  # no later batch was written over it


def test_read_only_pixels_and_views_are_taken(session: onnxruntime.InferenceSession) -> None:
    given = np.frombuffer(pixels(4).tobytes(), np.uint8).reshape(4, SPEC.height, SPEC.width, 3)
    expected = session.run([OUTPUT_NAME], {INPUT_NAME: given})[0]
    padded = Padded(session, SPEC, "cpu")
    np.testing.assert_array_equal(padded.logits(given), expected)
    np.testing.assert_array_equal(padded.logits(np.repeat(given, 2, axis=0)[::2]), expected)


def test_threads_share_a_session_and_nothing_else(session: onnxruntime.InferenceSession) -> None:
    padded = Padded(session, SPEC, "cpu")

    def right(seed: int) -> bool:
        given = pixels(1 + seed % LARGEST_BATCH, seed)
        return bool(np.array_equal(padded.logits(given), session.run([OUTPUT_NAME], {INPUT_NAME: given})[0]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(400)))


def test_every_bucket_of_a_real_network(tmp_path: Path) -> None:
    from benchmarks.untrained import untrained
    from decision import load_bundle
    from service.network import Network

    bundle = load_bundle(untrained(tmp_path, "small", 16))
    network = Network(bundle, "cpu", 1)
    padded = Padded(network._session, bundle.input, "cpu")
    for n in (1, 3, 17, 64):
        given = np.random.default_rng(n).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
        np.testing.assert_allclose(padded.logits(given), network.logits(given), rtol=1e-5, atol=1e-6)
