-- Statistics an hour, computed when they are asked for.
CREATE VIEW iot_hourly_stats AS
SELECT
    date_trunc('hour', timestamp, 'UTC') AS bucket,
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
GROUP BY bucket, device_id, connector_mode, component_type, component_id, unit, connector;
