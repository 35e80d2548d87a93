"""The shop of `reference.order_services` as servers of a test: prices, the shop, and its customers."""

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reference.backends import Backend, running

_PROGRAM = str(Path(__file__).with_name("order_services.py"))


class OrderService(Backend):
    """One of the two services."""

    def __init__(self, directory: Path, role: str, target: str) -> None:
        """`target` is the folder of the releases, or the URL of prices."""
        super().__init__(directory)
        self._arguments = (role, str(self.port), target)

    @property
    def address(self) -> str:
        """Host and port, as Prometheus scrapes it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def command(self) -> list[str]:
        return [sys.executable, _PROGRAM, *self._arguments]

    def answers(self) -> bool:
        return "requests_total" in self.metrics()

    def metrics(self) -> str:
        """Return what it measures; empty where it is away."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=2) as reply:
                text: str = reply.read().decode()
                return text
        except OSError:
            return ""


class Customers(Backend):
    """Whoever orders from a shop; they are there once the shop has answered one of them."""

    def __init__(self, directory: Path, shop: OrderService) -> None:
        super().__init__(directory)
        self._shop = shop

    @property
    def url(self) -> str:
        return self._shop.url

    def command(self) -> list[str]:
        return [sys.executable, _PROGRAM, "customers", self._shop.url]

    def answers(self) -> bool:
        return 'requests_total{code="200"} 0.0' not in self._shop.metrics()


@dataclass(frozen=True, slots=True)
class Orders:
    """A shop in business."""

    shop: OrderService
    prices: OrderService


@contextmanager
def shop_in_business(directory: Path, releases: Path) -> Iterator[Orders]:
    """Run it; `releases` holds `current`, a link to what `prices` runs."""
    prices = OrderService(directory / "prices", "prices", str(releases))
    shop = OrderService(directory / "shop", "shop", prices.url)
    with running(prices), running(shop), running(Customers(directory / "customers", shop)):
        yield Orders(shop, prices)
