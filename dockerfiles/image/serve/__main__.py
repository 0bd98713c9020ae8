"""``python3 -I -S /opt/spark/serve COMMAND…``: `serve`, `health`, or a program that takes this process's place.

What is asked every ten seconds and what runs before any other program imports nothing that it does not need.
"""

import os
import sys

if not __package__:  # run as a folder, which is then the first place of modules: the one around it has the package
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(arguments: "list[str]") -> int:
    if arguments[:1] == ["health"]:
        from serve.health import ask  # noqa: PLC0415

        return ask()
    if arguments[:1] == ["serve"]:
        from serve.story import main as serve  # noqa: PLC0415

        return serve(arguments[1:])
    from serve.given import execute  # noqa: PLC0415

    return execute(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
