"""Connect devices to MQTT by the IoT2MQTT connector contract."""
