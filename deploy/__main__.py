"""python -m deploy: write the files of Prometheus and Grafana; `--scale 60` makes an hour a minute, for a rehearsal."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from deploy import dashboard, prometheus
from deploy.windows import Timing

HERE = Path(__file__).resolve().parent


def files(timing: Timing, runbooks: str = prometheus.RUNBOOKS) -> dict[str, str]:
    """Text by path below the output folder."""
    return {
        "prometheus/rules.yml": prometheus.rules(timing),
        "prometheus/alerts.yml": prometheus.alert_rules(timing, runbooks),
        "prometheus/prometheus.yml": prometheus.configuration(timing),
        "grafana/dashboards/equipoise.json": dashboard.rendered(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write them all."""
    parser = argparse.ArgumentParser("python -m deploy", description="Write the files of Prometheus and Grafana.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: deploy/)")
    parser.add_argument("--scale", type=float, default=1.0, help="shorten every window and wait by it (default: 1)")
    parser.add_argument("--scrape", type=float, default=15.0, help="seconds between scrapes (default: 15)")
    parser.add_argument("--runbooks", default=prometheus.RUNBOOKS, help="where alerts link to (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        timing = Timing(given.scale, given.scrape)
    except ValueError as error:
        parser.error(str(error))
    for path, text in files(timing, given.runbooks).items():
        target = given.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
