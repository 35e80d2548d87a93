import React from "react";

/** Shows a basket. */
export function BasketView({ items }: Props) {
  const count = items.length;
  return <Panel title="Basket">{format(count)}</Panel>;
}

export const Empty = () => <Panel />;
