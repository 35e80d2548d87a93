#include "taxes.hpp"

namespace shop {

/// Holds items.
class Basket : public Payable {
public:
    explicit Basket(int count) : count_(count) {}
    double total() const;
private:
    int count_;
};

/// Return the sum
/// with tax.
double Basket::total() const {
    auto amount = count_ * 2.0;
    return taxes::with_tax(amount);
}

template <typename T>
T largest(const T& left, const T& right) {
    return left < right ? right : left;
}

Basket::~Basket() {}

}  // namespace shop
