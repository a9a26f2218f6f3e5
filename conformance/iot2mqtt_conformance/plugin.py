"""The pytest plugin: options and hooks; inert without --iot2mqtt-conformance."""
