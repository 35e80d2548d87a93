"""What QSRE's resources show."""
