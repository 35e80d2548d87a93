"""Parts of the measurement of anomaly detection."""
