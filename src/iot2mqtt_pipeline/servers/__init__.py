"""Servers started on this machine, for tests and for `iot2mqtt-pipeline up`."""
