"""What every test begins with."""

import signal

# What a shell starts in the background ignores SIGINT, and so would all programs that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
