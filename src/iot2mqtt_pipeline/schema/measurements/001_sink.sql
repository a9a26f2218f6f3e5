-- What the sink keeps beside the measurements, in the transactions of the rows.

-- The next offset to read of each Kafka partition.
CREATE TABLE iot_sink_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- How many rows of each device were there already, for the ledger.
CREATE TABLE iot_sink_duplicates (
    device_id text PRIMARY KEY,
    duplicates bigint NOT NULL
);

-- Hours that got rows after the hourly statistics had passed them; mark grows with every such batch, so that an hour is
-- only struck off if it has got no more since it was computed.
CREATE TABLE iot_late_hours (
    bucket timestamptz PRIMARY KEY,
    mark bigint NOT NULL DEFAULT 1
);

-- What upkeep was last told, one row: days after which measurements go, or NULL, and how far back the hourly statistics
-- are renewed on their own, or NULL where they are always those of the moment.
CREATE TABLE iot_upkeep_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    retention_days integer,
    refresh_window interval
);
