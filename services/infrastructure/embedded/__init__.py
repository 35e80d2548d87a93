"""The embedded engine: speaks Pulumi's own protocol to unmodified programs and providers."""
