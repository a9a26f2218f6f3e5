"""Names and values that scenarios use and judges know."""

KEEPALIVE = 37
"""MQTT_KEEPALIVE of every launch, in seconds."""
PREFIX = "prefix7"
"""MQTT_CLIENT_PREFIX of every launch."""
DISABLED = "disabled1"
"""The disabled device that the suite adds to every instance file."""
GROUP_ALL = "conformance_all"
"""A group that the suite adds: the devices that can be commanded alike, a disabled and an unknown one."""
GROUP_ONE = "conformance_one"
"""A group that the suite adds: the first of those devices."""
STRANGE = "no_such_property"
"""A property that no device has."""
NEIGHBOUR = "another"
"""An instance whose file lies beside that of every launch, and that the launch has nothing to do with."""
UNKNOWN = "nosuchdevice"
"""A device that no instance file names."""
EXIT_LIMIT = 10.0
"""Seconds that a connector may take to end after a signal."""
RECOVERY = 10.0
"""Seconds from the broker's return until the connector is back."""
COMMAND_TIMEOUT = 500
"""The `timeout` of a command for a slow device, in milliseconds."""
HELD_UP = 0.25
"""Seconds for which a slow device must not answer, so that anything can be judged by it."""
CLOCK_TOLERANCE = 5.0
"""Seconds between a timestamp and its publication."""
LONGEST_RETRY = 60.0
"""Seconds that the suite waits for an attempt that the connector has announced."""
EVENT_DRIVEN = 5.0
"""Seconds that stand for update_interval where a connector is driven by events (I2M-STATE-06)."""
HALF_OPEN_KEEPALIVE = 2
"""MQTT_KEEPALIVE where the connection is half open, in seconds."""
NOTICE_SLACK = 2.0
"""Seconds beyond twice the keep-alive: client libraries look at their clocks once a second."""
LOCKED_OUT = 5.0
"""Seconds for which the broker refuses the credentials."""
GROWTH = 5_000_000
"""Bytes by which a connector's resident memory may grow."""
FEWEST_ANSWERS = 100
"""Answers from which on a growth of memory tells something."""
RENAMED = "renamed1"
"""What a device is called after a change of the configuration."""
STRANGER_USER = "of-the-environment"
"""MQTT_USERNAME of the launches whose credentials stand in the file of secrets."""
