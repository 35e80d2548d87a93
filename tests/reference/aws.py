"""AWS as moto plays it, over HTTP in a thread of the tests' process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RunningAws:
    """Where it is, and what a program needs to find it."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of whoever is to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, service: str) -> Any:
        """Return a client of one of its services."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing-secret",
        )


@contextmanager
def running_aws() -> Iterator[RunningAws]:
    """Run it; what earlier users of this process left in it is gone."""
    from moto.moto_api._internal.models import moto_api_backend
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        moto_api_backend.reset()
        host, port = server.get_host_and_port()
        yield RunningAws(f"http://{host}:{port}")
    finally:
        server.stop()
