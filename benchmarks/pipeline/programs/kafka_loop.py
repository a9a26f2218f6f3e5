"""A bare confluent-kafka loop: it consumes records in batches, produces each as it is, and does nothing else."""

import json
import os
import sys
import time

from confluent_kafka import Consumer, Producer

total = int(sys.argv[1])
warm = total // 20
where = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}
consumer = Consumer(where | {"group.id": os.environ["MQTT_CLIENT_ID"], "auto.offset.reset": "earliest"})
producer = Producer(where | {"linger.ms": 5, "enable.idempotence": True})
consumer.subscribe([os.environ["KAFKA_RAW_TOPIC"]])
count = 0
begun: float | None = None
begun_at = 0
while count < total:
    records = consumer.consume(5000, 0.1)
    for record in records:
        if record.error():
            sys.exit(str(record.error()))
        producer.produce(os.environ["KAFKA_DECODED_TOPIC"], record.value(), record.key())
        count += 1
    producer.flush()
    if records:
        consumer.commit(asynchronous=False)
    if begun is None and count >= warm:
        begun, begun_at = time.monotonic(), count
if begun is None:
    sys.exit("there was nothing to measure")
sys.stdout.write(json.dumps({"rate": (total - begun_at) / (time.monotonic() - begun)}) + "\n")
