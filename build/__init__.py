"""The build system behind the nox sessions; run as ``python -m build <verb>`` from the repository root."""
