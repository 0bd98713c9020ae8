"""The image's own checks: run inside it as ``python3 -m checks``, offline, as its user.

Pure Python with what an image has; also mounted into images that are not ours, hence the plain style and the
support of Python 3.9. The protocol with the host is one JSON object a line on standard output, see ``events``.
"""
