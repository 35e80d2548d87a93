"""Tasks: long tool calls that outlive the request they began with, as durable workflows of the hub's own."""
