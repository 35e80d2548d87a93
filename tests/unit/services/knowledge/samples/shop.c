#include <stdio.h>
#include "taxes.h"

#define RATE 20
#define SQUARE(x) ((x) * (x))

/* Holds items. */
struct basket {
    int count;
    double *prices;
};

typedef struct basket basket_t;

enum status { OPEN, PAID };

double with_tax(double amount);

/* Return the sum
 * with tax. */
double basket_total(const struct basket *self)
{
    double amount = 0;
    for (int i = 0; i < self->count; i++)
        amount += self->prices[i];
    return with_tax(amount) * SQUARE(1);
}

static char *name_of(enum status status)
{
    return status == PAID ? "paid" : "open";
}
