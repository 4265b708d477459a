/**
 * Questions that people who run GPU fleets ask, as SQL over the warehouse table `m`.
 */

export interface OperatorQuestion {
  readonly question: string;
  readonly sql: string;
}

export const OPERATOR_QUESTIONS: readonly OperatorQuestion[] = [
  {
    question: 'Which GPUs hold memory and do nothing? (under 5 % busy, over 1 GiB held)',
    sql: `
      SELECT node_id AS node, gpu_index AS gpu, namespace,
             round(avg(value) FILTER (metric = 'DCGM_FI_DEV_GPU_UTIL'), 1) AS busy_percent,
             round(max(value) FILTER (metric = 'DCGM_FI_DEV_FB_USED') / 1024, 1) AS held_gib
      FROM m
      WHERE metric IN ('DCGM_FI_DEV_GPU_UTIL', 'DCGM_FI_DEV_FB_USED')
      GROUP BY ALL
      HAVING busy_percent < 5 AND held_gib > 1
      ORDER BY held_gib DESC, node, gpu
      LIMIT 5`,
  },
  {
    question: 'Which GPUs run hottest?',
    sql: `
      SELECT node_id AS node, gpu_index AS gpu, gpu_model AS model,
             max(value) AS max_celsius, round(avg(value), 1) AS mean_celsius
      FROM m
      WHERE metric = 'DCGM_FI_DEV_GPU_TEMP'
      GROUP BY ALL
      ORDER BY max_celsius DESC, mean_celsius DESC, node, gpu
      LIMIT 5`,
  },
  {
    question: 'Who uses the fleet? (GPU-hours, gaps counted as at most a minute)',
    sql: `
      WITH steps AS (
        SELECT namespace, value AS busy,
               least(coalesce(epoch(lead(ts) OVER (PARTITION BY gpu_uuid ORDER BY ts) - ts), 15), 60)
                 AS seconds
        FROM m
        WHERE metric = 'DCGM_FI_DEV_GPU_UTIL')
      SELECT coalesce(namespace, '(nobody)') AS namespace,
             round(sum(seconds) / 3600, 1) AS gpu_hours,
             round(sum(seconds * busy) / sum(seconds), 1) AS busy_percent
      FROM steps
      GROUP BY 1
      ORDER BY gpu_hours DESC
      LIMIT 8`,
  },
];
