"""Before the workers: everything that could keep them from starting is checked once, and what is served is said.

All that the arbiter needs of this package, and little to load: the checks run in a process beside it.
"""

import atexit
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

EXIT_UNUSABLE = 2
URL = "EQUIPOISE_URL"
ROOT = Path(__file__).resolve().parent.parent


@cache
def preparing() -> "subprocess.Popen[str]":
    """The process of `service.preparation`, begun by whoever asks first: it takes as long as BentoML does to load."""
    # Found by path, whatever the current folder, which relative settings are meant from, may hold.
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    begun = subprocess.Popen(
        [sys.executable, "-P", "-m", "service.preparation"], env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    atexit.register(begun.kill)
    return begun


def prepare() -> None:
    """Wait until all is known to be well, and hand workers what was found; else exit code 2, its one line was said."""
    said, _ = preparing().communicate()
    if (code := preparing().returncode) != 0:
        if code != EXIT_UNUSABLE:
            print(f"error: the checks before the start ended with {code}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_UNUSABLE)
    found = json.loads(said)
    os.environ |= found["environment"]
    gc.freeze()
    gc.enable()
    print(found["greeting"], flush=True)


def die_with_parent() -> None:
    """Have the kernel end this worker when the arbiter that would end it is killed (Linux)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
