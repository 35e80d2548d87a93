"""What QSRE's tools do."""
