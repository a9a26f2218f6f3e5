"""Judges a connector, in any language, by the IoT2MQTT connector contract."""
