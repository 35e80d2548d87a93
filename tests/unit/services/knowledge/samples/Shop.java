package org.example.shop;

import org.example.shop.Taxes;

/** Holds items. */
public class Shop implements Payable {
    private static final double RATE = 0.2;

    public Shop(List<Item> items) {
        this.items = items;
    }

    /**
     * Return the sum
     * with tax.
     */
    @Override
    public double total() {
        double amount = items.size();
        return Taxes.withTax(amount, RATE);
    }

    enum Status { OPEN, PAID }
}

interface Payable {
    double total();
}

record Point(int x, int y) {}
