"""Whether a folder can be written to: known before hours of training, not after them."""

import os
import tempfile
from pathlib import Path

from training.errors import DataError


def require_writable(option: str, folder: Path) -> None:
    """DataError where nothing can be written below a folder, which need not be there yet. It leaves nothing behind."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise DataError(f"--{option} {folder}: expected a folder to write to, got {there}: {error.strerror}") from None
