/**
 * Whether InfluxDB is there and would take what the daemon writes. An empty write tells whether
 * token, organisation and bucket are right, and leaves nothing behind.
 */
import type { InfluxConfig } from '../../../config/schema.ts';
import { errorMessage } from '../../../lib/errors.ts';
import { type Check, CheckList } from './check.ts';

/** Checks the InfluxDB section; without one there is nothing to reach. */
export async function checkSinks(influxdb: InfluxConfig | undefined): Promise<Check[]> {
  const list = new CheckList('sinks');
  if (influxdb === undefined) {
    list.ok('influxdb', 'off: no influxdb section');
  } else if (await checkReachable(list, influxdb)) {
    await checkWrite(list, influxdb);
  }
  return list.entries;
}

async function checkReachable(list: CheckList, influxdb: InfluxConfig): Promise<boolean> {
  const hint = 'is the server up, is influxdb.url right, is a firewall in between?';
  try {
    let response = await request(influxdb, 'health', {});
    if (response.status === 404) response = await request(influxdb, 'ping', {});
    if (response.ok) {
      list.ok('influxdb.url', `${origin(influxdb)} answers`);
      return true;
    }
    const message = `${origin(influxdb)} is not healthy: status ${response.status}`;
    list.fail('influxdb.url', message, 'look at the log of that server');
  } catch (error) {
    list.fail('influxdb.url', `cannot reach ${origin(influxdb)}: ${reason(error)}`, hint);
  }
  return false;
}

async function checkWrite(list: CheckList, influxdb: InfluxConfig): Promise<void> {
  const query = new URLSearchParams({
    org: influxdb.org,
    bucket: influxdb.bucket,
    precision: 'ms',
  });
  const options = {
    method: 'POST',
    body: '',
    headers: { Authorization: `Token ${influxdb.token}` },
  };
  try {
    const { status } = await request(influxdb, `api/v2/write?${query}`, options);
    reportWrite(list, influxdb, status);
  } catch (error) {
    const hint = 'the server answers, but not to writes; look at its log';
    list.fail('influxdb.url', `cannot write to ${origin(influxdb)}: ${reason(error)}`, hint);
  }
}

function reportWrite(list: CheckList, influxdb: InfluxConfig, status: number): void {
  const { bucket, org } = influxdb;
  if (status === 401 || status === 403) {
    const hint = 'give influxdb.token a token that may write to the bucket';
    list.fail('influxdb.token', `the token may not write to bucket ${bucket} of ${org}`, hint);
  } else if (status === 404) {
    const hint = 'create it, or correct influxdb.bucket and influxdb.org';
    list.fail('influxdb.bucket', `there is no bucket ${bucket} of ${org}`, hint);
  } else if (status >= 500) {
    const hint = 'the journal keeps everything until the server takes it';
    list.warn('influxdb.url', `writing is answered with status ${status}`, hint);
  } else {
    // 400 means "no points": the server got as far as reading the empty body.
    list.ok('influxdb.token', `writing to bucket ${bucket} of ${org} is allowed`);
  }
}

async function request(
  influxdb: InfluxConfig,
  path: string,
  options: RequestInit,
): Promise<Response> {
  const base = influxdb.url.endsWith('/') ? influxdb.url : `${influxdb.url}/`;
  const signal = AbortSignal.timeout(influxdb.timeout_secs * 1000);
  const response = await fetch(new URL(path, base), { ...options, signal });
  await response.body?.cancel();
  return response;
}

/** The address without what a URL may hide in its user part. */
function origin(influxdb: InfluxConfig): string {
  return new URL(influxdb.url).origin;
}

/** fetch says only "fetch failed"; what failed is in the cause. */
function reason(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof AggregateError) return errorMessage(cause.errors[0]);
  return errorMessage(cause ?? error);
}
