"""What the environment says, read once at start."""

import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

Device = Literal["auto", "cpu", "cuda"]
MOST_SECONDS = 86_400
MOST_PIXELS = 178_000_000  # Pillow refuses more by itself


class SettingsError(ValueError):
    """A setting that cannot be used; the service does not start."""


@dataclass(frozen=True)
class Settings:
    """Operational settings. Sizes in bytes, times in seconds."""

    model: Path
    state: Path
    device: Device
    admin_token: str
    predict_token: str
    database_url: str
    max_bytes: int
    max_pixels: int
    timeout: float
    threads: int
    metric_classes: int
    patience: float
    drain: float
    access_log: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read `EQUIPOISE_…`; raises SettingsError naming the variable, what was expected and what came."""
        from decision.images import MAX_PIXELS  # here: decision takes long to load, and the arbiter never asks

        get = environment.get
        state = state_of(environment)
        device = get("EQUIPOISE_DEVICE") or "auto"
        if device not in get_args(Device):
            raise SettingsError(f"EQUIPOISE_DEVICE: expected one of {', '.join(get_args(Device))}, got {device!r}")
        return cls(
            model=Path(get("EQUIPOISE_MODEL") or _only_model()).absolute(),
            state=state,
            device=cast("Device", device),
            admin_token=get("EQUIPOISE_ADMIN_TOKEN", ""),
            predict_token=get("EQUIPOISE_PREDICT_TOKEN", ""),
            database_url=database_of(environment),
            max_bytes=_positive(environment, "EQUIPOISE_MAX_BYTES", 10 << 20),
            max_pixels=_positive(environment, "EQUIPOISE_MAX_PIXELS", MAX_PIXELS, most=MOST_PIXELS),
            timeout=_positive(environment, "EQUIPOISE_TIMEOUT", 30),
            threads=_positive(environment, "EQUIPOISE_THREADS", _cores_per_worker(environment)),
            metric_classes=_positive(environment, "EQUIPOISE_METRIC_CLASSES", 100),
            patience=_seconds(environment, "EQUIPOISE_MAX_WAIT", 1.0),
            drain=drain_of(environment),
            access_log=_switch(environment, "EQUIPOISE_ACCESS_LOG"),
        )


def state_of(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of what outlives a start."""
    return Path(environment.get("EQUIPOISE_STATE") or "state").absolute()


def database_of(environment: Mapping[str, str] = os.environ) -> str:
    """The URL of the database: SQLite in the state folder unless another is named."""
    return environment.get("EQUIPOISE_DATABASE_URL") or f"sqlite:///{state_of(environment) / 'equipoise.db'}"


def drain_of(environment: Mapping[str, str] = os.environ) -> int:
    """Seconds after which a service that was asked to end has ended."""
    return _positive(environment, "EQUIPOISE_DRAIN", 20)


def ensure_admin_token() -> bool:
    """Make a token where none is set, for this process and the workers it starts; True if one was made."""
    if os.environ.get("EQUIPOISE_ADMIN_TOKEN"):
        return False
    os.environ["EQUIPOISE_ADMIN_TOKEN"] = uuid.uuid4().hex
    return True


def _only_model() -> Path:
    """The one model in models/ here and beside this package (as in a bento)."""
    folders = {folder.resolve() for folder in (Path("models"), Path(__file__).parent.parent / "models")}
    found = sorted(path for folder in folders for path in folder.glob("*") if (path / "latest").is_file())
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path) for path in found)
    raise SettingsError(f"expected one model to serve, found {names or 'none in models/'}; --model (EQUIPOISE_MODEL) "
                        f"names one: --model {names.split(', ')[0] or 'models/NAME'}")  # fmt: skip


def _cores_per_worker(environment: Mapping[str, str]) -> int:
    return max(1, len(os.sched_getaffinity(0)) // _positive(environment, "EQUIPOISE_WORKERS", 1))


def _positive(environment: Mapping[str, str], name: str, default: int, most: int = 1 << 40) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise SettingsError(f"{name}: expected a whole number from 1 to {most}, got {text!r}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= MOST_SECONDS:
            return seconds
    raise SettingsError(f"{name}: expected seconds above 0, {MOST_SECONDS:,} at most, got {text!r}")


def _switch(environment: Mapping[str, str], name: str) -> bool:
    text = (environment.get(name) or "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise SettingsError(f"{name}: expected true or false, got {text!r}")
    return text in ("true", "1")
