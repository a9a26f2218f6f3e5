-- The measurements in native partitions, one a day in UTC; rows of days without a partition go to the default one.
CREATE TABLE iot_measurements (
    timestamp timestamptz NOT NULL,
    device_id text NOT NULL,
    connector_mode text NOT NULL,
    connector text NOT NULL,
    component_type text NOT NULL,
    component_id text,
    value double precision,
    value_text text,
    unit text,
    raw_data jsonb
) PARTITION BY RANGE (timestamp);

CREATE UNIQUE INDEX iot_measurements_identity ON iot_measurements
(device_id, component_type, component_id, connector, connector_mode, timestamp) NULLS NOT DISTINCT;
CREATE INDEX iot_measurements_timestamp ON iot_measurements (timestamp DESC);

CREATE TABLE iot_measurements_default PARTITION OF iot_measurements DEFAULT;
