"""The `visavis` command: the only place where stages are wired together."""
