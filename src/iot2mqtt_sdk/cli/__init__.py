"""The command line `iot2mqtt`."""


def main() -> None:
    """Run the command line."""
