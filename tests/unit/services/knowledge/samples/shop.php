<?php
namespace Example\Shop;

use Example\Taxes\TaxTable;

const RATE = 0.2;

/** Holds items. */
class Basket implements Payable
{
    public function __construct(private array $items) {}

    /**
     * Return the sum
     * with tax.
     */
    public function total(): float
    {
        $amount = count($this->items);
        return TaxTable::withTax($amount);
    }
}

interface Payable
{
    public function total(): float;
}

function checkout(Basket $basket): float
{
    return $basket->total();
}
