"""Finding what is to blame for an incident: a ranking of suspects from metrics, topology and changes."""
