"""What the stages talk to: the only modules that import the drivers of MQTT, Kafka and PostgreSQL."""
