"""Names and values that scenarios use and judges know."""

KEEPALIVE = 37
"""MQTT_KEEPALIVE of every launch, in seconds."""
PREFIX = "prefix7"
"""MQTT_CLIENT_PREFIX of every launch."""
DISABLED = "disabled1"
"""The disabled device that the suite adds to every instance file."""
NEIGHBOUR = "another"
"""An instance whose file lies beside that of every launch, and that the launch has nothing to do with."""
UNKNOWN = "nosuchdevice"
"""A device that no instance file names."""
EXIT_LIMIT = 10.0
"""Seconds that a connector may take to end after a signal."""
RECOVERY = 10.0
"""Seconds from the broker's return until the connector is back."""
CLOCK_TOLERANCE = 5.0
"""Seconds between a timestamp and its publication."""
