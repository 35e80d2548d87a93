"""The store of finished and running scans."""
