"""Objects in this process's memory."""

from obstore.store import MemoryStore

from quantum_suite.services.objects.bucket import Bucket
from quantum_suite.services.objects.obstore_store import MAX_BYTES, ObstoreObjectStore


class MemoryObjectStore(ObstoreObjectStore):
    """Keeps objects for as long as the process lives, by the same steps as on S3."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(Bucket(MemoryStore(), "memory"), max_bytes=max_bytes)
