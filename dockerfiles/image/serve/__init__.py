"""The image's entry point: ``/opt/spark/serve``, run by the image's Python in isolated mode, with nothing but it.

``serve --profile P --model FOLDER`` checks the model, composes the vLLM command of a profile and runs it under a
watchdog, as process 1; ``health`` is what Docker asks; any other command is executed as given.
"""
