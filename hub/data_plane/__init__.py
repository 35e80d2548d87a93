"""The data plane of one process: which adapter stands behind each port, opened once and in order."""
