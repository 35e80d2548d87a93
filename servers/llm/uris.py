"""The URIs of what the module shows."""

PROVIDER = "quantum://llm/providers/{provider}"
PROVIDERS = "quantum://llm/providers/all"
USAGE = "quantum://llm/usage/{period}"
USAGE_OF_ALL = "quantum://llm/usage/{period}/everybody"
