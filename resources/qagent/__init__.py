"""What QAgent shows: verdicts, context packs and improvements."""
