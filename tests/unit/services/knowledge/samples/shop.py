"""Prices of a shop."""

from decimal import Decimal

from shop import taxes

RATE = Decimal("0.2")


class Basket:
    """Holds items."""

    limit = 5

    def __init__(self, items):
        self.items = items

    @property
    def total(self) -> Decimal:
        """Return the sum
        with tax."""
        amount = sum(item.price for item in self.items)
        return taxes.with_tax(amount, RATE)


async def checkout(basket: Basket, *, coupon=None):
    # Not a docstring.
    def discounted(amount):
        return amount - coupon.value

    return discounted(basket.total)
