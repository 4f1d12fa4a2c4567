"""What Prometheus, Alertmanager and Grafana need to watch the service, made by code: `python -m deploy` writes it."""
