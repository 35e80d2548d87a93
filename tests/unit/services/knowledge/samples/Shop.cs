using Example.Taxes;

namespace Example.Shop
{
    /// <summary>Holds items.</summary>
    public class Basket : IPayable
    {
        private const decimal Rate = 0.2m;

        public int Count { get; set; }

        public Basket(int count)
        {
            Count = count;
        }

        /// <summary>Return the sum with tax.</summary>
        public decimal Total()
        {
            var amount = Count * 2m;
            return TaxTable.WithTax(amount, Rate);
        }
    }

    public interface IPayable
    {
        decimal Total();
    }

    public enum Status { Open, Paid }
}
