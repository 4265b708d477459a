-- Views over the warehouse for analysts, in DuckDB. docs/views-spark.sql has the same for Spark.
--
--     duckdb -init docs/views.sql
--
-- Change the path in the first view to your `parquet.output_dir`. Views hold no data. Filter on
-- `date`, `hour` and `ts`: the filter reaches the files through every view.

-- Times are shown in UTC, and `date` and `hour` are UTC whatever the session says.
SET TimeZone = 'UTC';

-- Every sample.
CREATE OR REPLACE VIEW metrics AS
SELECT * FROM read_parquet('/var/lib/horizon/telemetry/metrics/**/*.parquet', hive_partitioning = true);

-- Every sample, with the labels that have no column of their own as columns.
CREATE OR REPLACE VIEW samples AS
SELECT
  * EXCLUDE (labels),
  labels->>'gpu_instance_id' AS gpu_instance_id,
  labels->>'gpu_instance_profile' AS gpu_instance_profile,
  labels->>'pci_bus_id' AS pci_bus_id,
  labels::JSON AS labels
FROM metrics;

-- One row for each label of each series: which labels there are, and who uses them.
CREATE OR REPLACE VIEW series_labels AS
SELECT DISTINCT date, metric, node_id, gpu_uuid, label.key AS label, label.value->>'$' AS text
FROM metrics, LATERAL json_each(metrics.labels) AS label;

-- One row for each GPU: the latest that any series said about it.
CREATE OR REPLACE VIEW gpus AS
SELECT
  gpu_uuid,
  max_by(node_id, ts) AS node_id,
  max_by(gpu_index, ts) AS gpu_index,
  max_by(gpu_model, ts) AS gpu_model,
  max_by(pci_bus_id, ts) AS pci_bus_id,
  min(ts) AS first_seen,
  max(ts) AS last_seen
FROM samples
WHERE gpu_uuid IS NOT NULL
GROUP BY gpu_uuid;

-- Every sample of a GPU with what is known of it from all its series. One source may send the
-- uuid, another the model, a third only the index on the node.
CREATE OR REPLACE VIEW gpu_samples AS
SELECT
  samples.* EXCLUDE (gpu_uuid, gpu_index, gpu_model, pci_bus_id),
  coalesce(samples.gpu_uuid, by_index.gpu_uuid) AS gpu_uuid,
  coalesce(samples.gpu_index, by_uuid.gpu_index) AS gpu_index,
  coalesce(samples.gpu_model, by_uuid.gpu_model, by_index.gpu_model) AS gpu_model,
  coalesce(samples.pci_bus_id, by_uuid.pci_bus_id, by_index.pci_bus_id) AS pci_bus_id
FROM samples
LEFT JOIN gpus AS by_uuid ON by_uuid.gpu_uuid = samples.gpu_uuid
LEFT JOIN gpus AS by_index
  ON samples.gpu_uuid IS NULL
  AND by_index.node_id = samples.node_id
  AND by_index.gpu_index = samples.gpu_index
WHERE samples.gpu_uuid IS NOT NULL OR samples.gpu_index IS NOT NULL;
