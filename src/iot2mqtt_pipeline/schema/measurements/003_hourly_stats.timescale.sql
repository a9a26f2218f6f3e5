-- Statistics an hour, always up to the moment: what is not computed yet is added when it is asked for.
CREATE MATERIALIZED VIEW iot_hourly_stats
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(INTERVAL '1 hour', timestamp) AS bucket,
    device_id,
    connector_mode,
    component_type,
    component_id,
    unit,
    avg(value) AS avg_value,
    min(value) AS min_value,
    max(value) AS max_value,
    count(*) AS measurement_count,
    connector
FROM iot_measurements
GROUP BY bucket, device_id, connector_mode, component_type, component_id, unit, connector
WITH NO DATA;
