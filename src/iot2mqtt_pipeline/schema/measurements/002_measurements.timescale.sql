-- The measurements as a hypertable, a chunk a day.
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
);

SELECT create_hypertable(
    'iot_measurements', 'timestamp', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false
);

CREATE UNIQUE INDEX iot_measurements_identity ON iot_measurements
(device_id, component_type, component_id, connector, connector_mode, timestamp) NULLS NOT DISTINCT;
CREATE INDEX iot_measurements_timestamp ON iot_measurements (timestamp DESC);

ALTER TABLE iot_measurements SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'device_id',
    timescaledb.compress_orderby = 'component_type, component_id, connector, connector_mode, timestamp DESC'
);
SELECT add_compression_policy('iot_measurements', INTERVAL '7 days');
