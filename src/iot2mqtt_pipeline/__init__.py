"""Carry what devices publish from MQTT through Kafka into TimescaleDB, with nothing lost."""
