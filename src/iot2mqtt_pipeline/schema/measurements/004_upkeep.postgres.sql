-- Create the partition of a day, with what the default partition holds of it.
CREATE FUNCTION iot_create_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'iot_measurements_' || to_char(day, 'YYYYMMDD');
    first timestamptz := day::timestamp AT TIME ZONE 'UTC';
    past timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    LOCK TABLE iot_measurements_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE iot_measurements)', partition);
    EXECUTE format(
        'WITH moved AS (DELETE FROM iot_measurements_default WHERE timestamp >= $1 AND timestamp < $2 RETURNING *)'
        ' INSERT INTO %I SELECT * FROM moved',
        partition
    ) USING first, past;
    EXECUTE format(
        'ALTER TABLE iot_measurements ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition, first, past
    );
END
$$;

-- Create the partitions of the coming week, and drop what is older than a retention in days, or nothing.
CREATE FUNCTION iot_upkeep(retention integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    old text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('iot_upkeep')) THEN
        RETURN;
    END IF;
    FOR ahead IN -1..7 LOOP
        PERFORM iot_create_partition(today + ahead);
    END LOOP;
    INSERT INTO iot_upkeep_state (retention_days) VALUES (retention)
    ON CONFLICT (only_row) DO UPDATE SET retention_days = retention;
    IF retention IS NULL THEN
        RETURN;
    END IF;
    FOR old IN
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'iot_measurements'::regclass AND relname ~ '_\d{8}$'
        AND to_date(right(relname, 8), 'YYYYMMDD') < today - retention
    LOOP
        EXECUTE format('DROP TABLE %I', old);
    END LOOP;
    DELETE FROM iot_measurements_default
    WHERE timestamp < (today - retention)::timestamp AT TIME ZONE 'UTC';
END
$$;

SELECT iot_upkeep(NULL);
