"""What the patches must do, one module a behaviour: a patch's header names the one that proves it (Behaviour-Test).

Each module has ``CASES``. They ask the installed packages (or source trees that stand in for them, or patched files
alone: ``build/stage.py`` on a developer's machine), and know nothing of the patch: the same cases tell whether an
unpatched version needs it.
"""
