"""What people type: names, options and help. Nothing heavy is imported here (see the package above)."""
