"""Running a project's tests, measuring what they reach, and knowing which ones a change concerns."""
