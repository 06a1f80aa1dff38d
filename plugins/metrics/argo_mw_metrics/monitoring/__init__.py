"""Dashboards for Grafana and alert rules for Prometheus, as data; files are generated from them."""

from __future__ import annotations
