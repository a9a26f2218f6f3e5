-- Which log an offset belongs to: a topic that was made anew, or is in another Kafka, begins at 0 again. Empty text is
-- for offsets from before this was kept; they become those of the first log that they fit.
ALTER TABLE iot_sink_offsets ADD COLUMN log text NOT NULL DEFAULT '';
ALTER TABLE iot_sink_offsets DROP CONSTRAINT iot_sink_offsets_pkey;
ALTER TABLE iot_sink_offsets ADD PRIMARY KEY (topic, partition, log);
