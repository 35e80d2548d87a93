"""Transports on the servers' side: in process, stdio child, HTTP."""
