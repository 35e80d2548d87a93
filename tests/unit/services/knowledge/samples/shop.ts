import { withTax } from "./taxes";

/** What can be paid for. */
export interface Payable {
  total(): number;
}

export type Currency = "EUR" | "USD";

export enum Status {
  Open,
  Paid,
}

/** Holds items. */
export class Basket<T extends Item> implements Payable {
  constructor(private readonly items: T[]) {}

  /** Return the sum with tax. */
  total(): number {
    const amount = this.items.length;
    return withTax(amount);
  }
}

export abstract class Store {
  abstract open(): Status;
}

export function checkout(basket: Basket<Item>, currency?: Currency): Status {
  return basket.total() > 0 ? Status.Paid : Status.Open;
}
