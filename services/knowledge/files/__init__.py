"""Which files of a workspace are indexed, and whether they are still what they were."""
