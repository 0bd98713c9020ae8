"""One story per verb: what `nox -s <verb>` does, top to bottom."""
