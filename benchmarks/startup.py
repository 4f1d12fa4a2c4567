"""How long a start takes, from the command to the first answer: beside a bare ASGI app and BentoML's quickstart.

    python -m benchmarks.startup [--rounds 7] [--model BUNDLE] [--out startup.json]

Of each round, in turns: `python -m service` with one worker, `uvicorn benchmarks.serving.bare:app`, BentoML's
quickstart with the same network, and `python -c "import bentoml"`. Files are warm in memory: a round before the first
is not counted. The bar is three starts of the bare app and one import; exit code 1 where the median ratio is above 1.
BentoML's quickstart says how much of the rest is BentoML: it is loaded by the arbiter, and again by the worker.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.serving.contenders import CONTENDERS, Contender
from benchmarks.untrained import picture, untrained
from training.config import Machine
from training.machine import commit, hardware

SHOWN = ("bare ASGI", "Equipoise", "BentoML quickstart")
SERVERS = {contender.name: contender for contender in CONTENDERS if contender.name in SHOWN}
IMPORT = "import bentoml"
POLL_SECONDS, START_SECONDS = 0.01, 90.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path, help="default: an untrained network")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or untrained(Path(folder), "small", 64)
        for n in range(options.rounds + 1):
            found = one_round(model)
            if n:
                rounds.append(found)
                print(", ".join(f"{name} {value:.2f}" for name, value in found.items()), file=sys.stderr)
    print("| what | median | least | most |\n|---|---|---|---|")
    for name in rounds[0]:
        values = [found[name] for found in rounds]
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    made = f"{hardware(Machine(accelerator='cpu'))}, commit {commit()}"
    print(f"\nSeconds, but for ratios; {options.rounds} rounds; {made}.")
    if options.out:
        options.out.write_text(json.dumps(rounds, indent=1) + "\n")
    return int(statistics.median(found["ratio to the bar"] for found in rounds) > 1)


def one_round(model: Path) -> dict[str, float]:
    """Seconds of each start, those of ours until its worker begins, and ratios."""
    found: dict[str, float] = {}
    for name, contender in SERVERS.items():
        found[name], worker = seconds_to_answer(contender, model)
        if name == "Equipoise":
            found["of which until its worker begins"] = worker
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    found[IMPORT] = time.perf_counter() - begun
    bar = 3 * found["bare ASGI"] + found[IMPORT]
    ours, quickstart = found["Equipoise"], found["BentoML quickstart"]
    return found | {"bar": bar, "ratio to the bar": ours / bar, "ratio to BentoML quickstart": ours / quickstart}


def listens(port: int) -> bool:
    """Asked so that asking costs next to nothing: both cores are the server's."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def seconds_to_answer(contender: Contender, model: Path) -> tuple[float, float]:
    """From the command to the first answer, and to the last process that it started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    image = picture("PNG", 64, 64)
    request = contender.request(image)
    command = [part.format(python=sys.executable, port=port, workers=1) for part in contender.command]
    with tempfile.TemporaryDirectory() as state, httpx.Client(timeout=START_SECONDS) as client:
        environment = os.environ | {"BENCH_MODEL": str(model), "EQUIPOISE_MODEL": str(model), "EQUIPOISE_STATE": state,
                                    "BENTOML_HOME": state, "BENTOML_DO_NOT_TRACK": "True"}  # fmt: skip
        began, begun = time.time(), time.perf_counter()
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not listens(port):
                if server.poll() is not None or time.perf_counter() - begun > START_SECONDS:
                    raise SystemExit(f"{contender.name} has not started")
                time.sleep(POLL_SECONDS)
            answer = client.post(f"http://127.0.0.1:{port}{request.path}", content=request.body,
                                 headers={"Content-Type": request.kind})  # fmt: skip
            assert answer.status_code == 200, answer.text
            seconds = time.perf_counter() - begun
            children = psutil.Process(server.pid).children()
            return seconds, max((child.create_time() - began for child in children), default=0.0)
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    sys.exit(main())
