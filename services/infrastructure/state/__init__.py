"""The states of stacks: Pulumi's deployment format, a journal, and the files both lie in."""
