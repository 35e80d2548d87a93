const taxes = require("./taxes");
import { round } from "./numbers.js";

/** Holds items. */
export class Basket {
  constructor(items) {
    this.items = items;
  }

  /**
   * Return the sum
   * with tax.
   */
  total() {
    const amount = this.items.reduce((sum, item) => sum + item.price, 0);
    return round(taxes.withTax(amount));
  }
}

// Pays for a basket.
export const checkout = async (basket) => {
  return basket.total();
};

function* everyItem(basket) {
  yield* basket.items;
}

module.exports.refund = function (basket) {
  return checkout(basket);
};

const RATE = 0.2;
