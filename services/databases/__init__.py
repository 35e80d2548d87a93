"""SQL databases: how they are opened, shared between threads and brought up to date."""
