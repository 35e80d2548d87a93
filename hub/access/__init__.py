"""Who is calling and what they may do: keys, principals, Cedar policies."""
