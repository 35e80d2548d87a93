"""What QTest's resources show."""
