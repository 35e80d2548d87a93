"""Anomalies in time series: found as points come, each with its reason."""
