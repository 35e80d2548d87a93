"""Protocol translation, for the calls whose client and server speak different eras."""
