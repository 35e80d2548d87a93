"""The LLM gateway: one typed request and event stream over any provider, under budgets, limits and an audit."""
