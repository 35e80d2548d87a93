"""Analytics: the events as tables, for questions over many of them."""
