"""What the environment says, read once at start."""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from decision.images import MAX_PIXELS

Device = Literal["auto", "cpu", "cuda"]


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

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read `EQUIPOISE_…`; raises SettingsError naming the variable, what was expected and what came."""
        get = environment.get
        state = Path(get("EQUIPOISE_STATE") or "state").absolute()
        device = get("EQUIPOISE_DEVICE") or "auto"
        if device not in get_args(Device):
            raise SettingsError(f"EQUIPOISE_DEVICE: expected one of {', '.join(get_args(Device))}, got {device!r}")
        return cls(
            model=Path(get("EQUIPOISE_MODEL") or _only_model()).absolute(),
            state=state,
            device=device,  # type: ignore[arg-type]
            admin_token=get("EQUIPOISE_ADMIN_TOKEN", ""),
            predict_token=get("EQUIPOISE_PREDICT_TOKEN", ""),
            database_url=get("EQUIPOISE_DATABASE_URL") or f"sqlite:///{state / 'equipoise.db'}",
            max_bytes=_positive(environment, "EQUIPOISE_MAX_BYTES", 10 << 20),
            max_pixels=_positive(environment, "EQUIPOISE_MAX_PIXELS", MAX_PIXELS),
            timeout=_positive(environment, "EQUIPOISE_TIMEOUT", 30),
            threads=_positive(environment, "EQUIPOISE_THREADS", _cores_per_worker(environment)),
        )


def ensure_admin_token() -> bool:
    """Make a token where none is set, for this process and the workers it starts; True if one was made."""
    if os.environ.get("EQUIPOISE_ADMIN_TOKEN"):
        return False
    os.environ["EQUIPOISE_ADMIN_TOKEN"] = uuid.uuid4().hex
    return True


def _only_model() -> Path:
    """The one model in models/ here, or beside this package (in a bento)."""
    folders = (Path("models"), Path(__file__).resolve().parent.parent / "models")
    models = next((folder for folder in folders if folder.is_dir()), folders[0])
    found = sorted(path for path in models.glob("*") if (path / "latest").is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise SettingsError(f"EQUIPOISE_MODEL (--model): expected a bundle's folder; in models/ there is {names}")
    return found[0]


def _cores_per_worker(environment: Mapping[str, str]) -> int:
    return max(1, len(os.sched_getaffinity(0)) // _positive(environment, "EQUIPOISE_WORKERS", 1))


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"{name}: expected a whole number of at least 1, got {text!r}")
    return int(text)
