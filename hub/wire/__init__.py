"""Transports on the client's side: Streamable HTTP and stdio, both protocol eras."""
