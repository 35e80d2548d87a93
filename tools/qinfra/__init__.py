"""What the tools of QInfra do."""
