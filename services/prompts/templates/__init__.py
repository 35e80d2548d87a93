"""The templates, one file a version: `<name>.v<version>.toml`. A version that was released never changes."""
