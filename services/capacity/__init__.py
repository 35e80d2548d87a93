"""How much heavy work this machine takes on at once."""
