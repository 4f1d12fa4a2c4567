"""Is every answer right while the policy changes? Writers, readers, and a check that decides each answer again.

    python -m tests.service.consistency host [--seconds 60] [--workers 4] [--writers 8]
    python -m tests.service.consistency replicas [--changes 200] [--outage 20]
    python -m tests.service.consistency kills [--changes 500]

`host`: writers PUT a policy of their own every 200 ms with If-Match, beside load and readers that keep every answer.
`replicas`: two services on one PostgreSQL; how long a change through one takes to be in force on the other.
`kills`: a worker, the arbiter and PostgreSQL are killed (-9) while one writer after another changes the policy.
Each ends with a line of JSON: what was counted, and that no law was broken (AssertionError where one was).
"""

import argparse
import json
import tempfile
from pathlib import Path

from tests.service.conftest import postgresql
from tests.service.consistency.kills import through_kills
from tests.service.consistency.one_host import on_one_host
from tests.service.consistency.two_hosts import on_two_hosts


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.service.consistency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["host", "replicas", "kills"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--changes", type=int)
    parser.add_argument("--outage", type=float, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.what == "host":
            found = on_one_host(folder, seconds=given.seconds, workers=given.workers, writers=given.writers)
        else:
            with postgresql("consistency") as database:
                found = (
                    on_two_hosts(folder, database, changes=given.changes or 200, outage=given.outage)
                    if given.what == "replicas"
                    else through_kills(folder, database, changes=given.changes or 500)
                )
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
