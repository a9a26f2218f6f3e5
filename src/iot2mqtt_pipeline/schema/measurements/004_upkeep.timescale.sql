-- Set the policies for a retention in days, or for none. Statistics outlive the rows that they were computed from, which
-- is why the window that renews them has to end before retention begins.
CREATE FUNCTION iot_upkeep(retention integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    renewed interval := LEAST(INTERVAL '3 days', make_interval(hours => retention * 12));
BEGIN
    PERFORM FROM iot_upkeep_state WHERE retention_days IS NOT DISTINCT FROM retention;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('iot_upkeep'));
    PERFORM remove_retention_policy('iot_measurements', if_exists => true);
    IF retention IS NOT NULL THEN
        PERFORM add_retention_policy('iot_measurements', make_interval(days => retention));
    END IF;
    PERFORM remove_continuous_aggregate_policy('iot_hourly_stats', if_exists => true);
    PERFORM add_continuous_aggregate_policy(
        'iot_hourly_stats',
        start_offset => renewed,
        end_offset => INTERVAL '1 hour',
        schedule_interval => INTERVAL '30 minutes'
    );
    INSERT INTO iot_upkeep_state (retention_days, refresh_window) VALUES (retention, renewed)
    ON CONFLICT (only_row) DO UPDATE SET retention_days = retention, refresh_window = renewed;
END
$$;

SELECT iot_upkeep(NULL);
