"""Make the environments of the peers: LitServe, MLServer and Triton, whose dependencies contradict Equipoise's.

    python -m benchmarks.serving.peers [--environments .cache/peers] [--only litserve]

Each NAME.txt beside this file is all that its environment holds, so that nothing is resolved and nothing is newer than
what was measured. Python 3.11: what Triton loads is compiled for the interpreter.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.serving.contenders import ENVIRONMENTS, python_of

LISTS = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.txt"))}


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.serving.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="folder that holds them")
    parser.add_argument("--only", action="append", choices=LISTS)
    given = parser.parse_args()
    for name in given.only or LISTS:
        folder = given.environments / name
        print(f"{folder}: {sum(1 for _ in LISTS[name].open())} packages", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python_of(name, given.environments), "-m", "pip", "install", "--quiet", "--no-deps",
                        "--disable-pip-version-check", "-r", LISTS[name]], check=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
