"""Files taken apart: definitions of programs, sections of documents. Runs in worker processes."""
