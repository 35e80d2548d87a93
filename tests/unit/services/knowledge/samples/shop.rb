require_relative "taxes"

module Shop
  RATE = 0.2

  # Holds items.
  class Basket < Base
    def initialize(items)
      @items = items
    end

    # Return the sum
    # with tax.
    def total
      amount = @items.sum(&:price)
      Taxes.with_tax(amount, RATE)
    end

    def self.empty
      new([])
    end
  end
end
