"""Let something happen to a light of a running connector.

python stimulus.py PORT fail light1      it does not answer any more
python stimulus.py PORT recover light1   it answers again, and at once
python stimulus.py PORT slow light1 4    every answer takes 4 s
python stimulus.py PORT press light1     somebody presses its button
"""

import socket
import sys

from world import HOST

PATIENCE = 5.0
"""Seconds that the connector may take."""


def main() -> int:
    """Tell the connector, and return 0 once it has happened."""
    port, *words = sys.argv[1:]
    try:
        with (
            socket.create_connection((HOST, int(port)), PATIENCE) as connection,
            connection.makefile("rw", encoding="utf-8") as stream,
        ):
            stream.write(" ".join(words) + "\n")
            stream.flush()
            answer = stream.readline().strip()
    except OSError as error:
        print(f"no connector listens on {HOST}:{port} ({error}): start it first", file=sys.stderr)
        return 1
    print(answer)
    return 0 if answer == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
