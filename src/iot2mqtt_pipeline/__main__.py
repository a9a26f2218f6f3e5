"""`python -m iot2mqtt_pipeline` is the command line `iot2mqtt-pipeline`."""

from iot2mqtt_pipeline.cli import main

if __name__ == "__main__":
    main()
