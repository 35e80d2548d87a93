"""What QTest does: runs tests, measures what they reach, finds what they miss, and judges new ones."""
