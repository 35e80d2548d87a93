"""What the resources of QInfra show."""
