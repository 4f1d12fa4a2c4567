"""python -m deploy: write the files of Prometheus and Grafana.

`--scale 60 --out FOLDER` makes an hour a minute, for a rehearsal.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from deploy import dashboard, prometheus
from deploy.windows import Timing

HERE = Path(__file__).resolve().parent


def files(timing: Timing, runbooks: str = prometheus.RUNBOOKS, job: str = prometheus.JOB) -> dict[str, str]:
    """Text by path below the output folder."""
    return {
        "prometheus/rules.yml": prometheus.rules(timing),
        "prometheus/alerts.yml": prometheus.alert_rules(timing, runbooks, job),
        "prometheus/prometheus.yml": prometheus.configuration(timing, job=job),
        "grafana/dashboards/equipoise.json": dashboard.rendered(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write them all, and say where they are."""
    parser = argparse.ArgumentParser("python -m deploy", description="Write the files of Prometheus and Grafana.")
    parser.add_argument("--out", type=Path, help="folder to write to (default: deploy/, where --scale is 1)")
    parser.add_argument("--scale", type=float, default=1.0, help="shorten every window and wait by it (default: 1)")
    parser.add_argument("--scrape", type=float, default=15.0, help="seconds between scrapes (default: 15)")
    parser.add_argument("--job", default=prometheus.JOB, help="the name of Prometheus' job (default: %(default)s)")
    parser.add_argument("--runbooks", default=prometheus.RUNBOOKS,
                        help="where alerts link to, as https://YOUR.WIKI/runbooks (default: %(default)s, which is "
                        "relative: a path in the repository)")  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        timing = Timing(given.scale, given.scrape)
    except ValueError as error:
        parser.error(str(error))
    if given.out is None and given.scale != 1:
        parser.error(f"expected --out with --scale {given.scale:g}: rules of a rehearsal would take production's place")
    for path, text in files(timing, given.runbooks, given.job).items():
        target = (given.out or HERE) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        print(target)


if __name__ == "__main__":
    main()
