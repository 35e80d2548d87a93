//! A shop.
use crate::taxes::with_tax;

/// Holds items.
#[derive(Debug, Clone)]
pub struct Basket<T> {
    items: Vec<T>,
}

pub trait Payable {
    /// Return the sum.
    fn total(&self) -> f64;
}

impl<T: Priced> Payable for Basket<T> {
    /// Return the sum
    /// with tax.
    #[inline]
    fn total(&self) -> f64 {
        let amount = self.items.len() as f64;
        with_tax(amount)
    }
}

pub const RATE: f64 = 0.2;

pub enum Status {
    Open,
    Paid,
}

macro_rules! price {
    ($x:expr) => { $x };
}

pub mod till {
    pub fn checkout(basket: &super::Basket<u8>) -> f64 {
        basket.total()
    }
}
