"""The audit chain: a record for every event, each bound to the one before, and signed checkpoints over them."""
