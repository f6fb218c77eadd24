"""A Grafana dashboard of the metrics of sweeps; `grafana.json` is to be imported as it is."""

from __future__ import annotations

from importlib.resources import files


def dashboard_text() -> str:
    """The dashboard, as the JSON that Grafana imports; it asks for its Prometheus itself."""
    return files("sweeps.cluster").joinpath("grafana.json").read_text(encoding="utf-8")
