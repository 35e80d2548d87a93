"""Running foreign code where it can do no harm: a command in, what became of it out."""
