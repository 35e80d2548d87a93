"""The URIs of what the module shows."""

PROVIDERS = "quantum://llm/providers/all"
USAGE = "quantum://llm/usage/{period}"
USAGE_OF_ALL = "quantum://llm/usage/{period}/everybody"
