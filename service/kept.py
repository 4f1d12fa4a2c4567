"""The last known policy, in a file of the host: what its workers read, with or without a database."""

import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from service.store import Revision

log = logging.getLogger("equipoise")


@dataclass(frozen=True)
class Kept:
    """A revision as it was published on this host, and the database (`Database.id`) that it is of."""

    entry: Revision
    database: str


class KeptPolicy:
    """One revision in one file, replaced whole; nobody ever reads half of it."""

    def __init__(self, state: Path, model: str) -> None:
        self._path = state / f"{model}.policy.json"

    def write(self, kept: Kept) -> None:
        """Keep it. A disk that does not take it is no reason to refuse a change that the database has."""
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            with temporary.open("w") as file:
                json.dump(asdict(kept), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.error("revision %d is not kept on this host: %s", kept.entry.revision, error)
            with suppress(OSError):
                temporary.unlink()

    def read(self) -> Kept | None:
        """What was kept last; None where there is nothing that can be read."""
        try:
            found = json.loads(self._path.read_text())
            return Kept(Revision(**found["entry"]), found["database"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("%s: expected a policy as it was kept, got %s", self._path.name, error)
            return None
