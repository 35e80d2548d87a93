"""What QSecure's stored scans look like when they are read."""
