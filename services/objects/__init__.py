"""Objects: reports, SBOMs and artefacts by the hash of their content."""
