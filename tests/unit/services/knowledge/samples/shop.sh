#!/usr/bin/env bash
source ./taxes.sh

RATE=20

# Return the sum
# with tax.
total() {
    local amount=$1
    with_tax "$amount" "$RATE"
}

function checkout {
    total 10
}

checkout
