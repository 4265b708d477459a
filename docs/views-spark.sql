-- The views of docs/views.sql for Spark SQL, where it spells things differently.
--
--     spark-sql -f docs/views-spark.sql
--
-- Change the path of the first view to your `parquet.output_dir`.

SET TIME ZONE 'UTC';

CREATE OR REPLACE TEMPORARY VIEW metrics
USING parquet OPTIONS (path '/var/lib/horizon/telemetry/metrics');

CREATE OR REPLACE TEMPORARY VIEW samples AS
SELECT
  *,
  get_json_object(labels, '$.gpu_instance_id') AS gpu_instance_id,
  get_json_object(labels, '$.gpu_instance_profile') AS gpu_instance_profile,
  get_json_object(labels, '$.pci_bus_id') AS pci_bus_id
FROM metrics;

CREATE OR REPLACE TEMPORARY VIEW series_labels AS
SELECT DISTINCT date, metric, node_id, gpu_uuid, label, text
FROM metrics
LATERAL VIEW explode(from_json(labels, 'map<string,string>')) AS label, text;

CREATE OR REPLACE TEMPORARY VIEW gpus AS
SELECT
  gpu_uuid,
  max_by(node_id, ts) AS node_id,
  max_by(gpu_index, ts) FILTER (WHERE gpu_index IS NOT NULL) AS gpu_index,
  max_by(gpu_model, ts) FILTER (WHERE gpu_model IS NOT NULL) AS gpu_model,
  max_by(pci_bus_id, ts) FILTER (WHERE pci_bus_id IS NOT NULL) AS pci_bus_id,
  min(ts) AS first_seen,
  max(ts) AS last_seen
FROM samples
WHERE gpu_uuid IS NOT NULL
GROUP BY gpu_uuid;

CREATE OR REPLACE TEMPORARY VIEW gpu_samples AS
SELECT
  samples.ts, samples.date, samples.hour, samples.metric, samples.value, samples.unit, samples.kind,
  samples.node_id, samples.namespace, samples.pod, samples.container, samples.job,
  samples.gpu_instance_id, samples.gpu_instance_profile, samples.labels, samples.received_at,
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
