// Package shop sells things.
package shop

import (
	"errors"
	"example.org/shop/taxes"
)

// ErrEmpty says that there is nothing to pay for.
var ErrEmpty = errors.New("empty")

const Rate = 0.2

// Basket holds items.
type Basket struct {
	Items []Item
}

// Payable can be paid for.
type Payable interface {
	Total() float64
}

// Total returns the sum
// with tax.
func (b *Basket) Total() float64 {
	amount := 0.0
	for _, item := range b.Items {
		amount += item.Price
	}
	return taxes.WithTax(amount)
}

func Checkout(basket *Basket) (float64, error) {
	return basket.Total(), ErrEmpty
}
