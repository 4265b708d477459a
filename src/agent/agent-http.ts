/**
 * The agent's HTTP side: /metrics, /healthz and /readyz. A file of its own because it brings an
 * HTTP framework and Prometheus' library along, which only an agent that is asked for them needs.
 */
import { type HttpServer, startHttpServer } from '../observability/http-server.ts';
import { type CheckResult, Readiness } from '../observability/readiness.ts';
import { createRegistry } from '../observability/registry.ts';
import { type AgentFigures, createAgentMetrics } from './agent-metrics.ts';

/** From here on the spool is about to drop what is new. */
const SPOOL_SHARE_MAX = 0.9;

/** Listens until it is closed. Rejects with METRICS_PORT. */
export function openAgentHttp(
  bind: { readonly host: string; readonly port: number },
  version: string,
  figures: () => AgentFigures,
): Promise<HttpServer> {
  const registry = createRegistry(version, 'telemetry_agent');
  createAgentMetrics(registry, figures);
  const readiness = new Readiness();
  readiness.add('collector', () =>
    check(figures().isConnected, 'there is no connection to the collector'),
  );
  readiness.add('sources', () => {
    const down = figures().sources.filter(({ isUp }) => !isUp);
    return check(down.length === 0, `no answer from ${down.map(({ name }) => name).join(', ')}`);
  });
  readiness.add('spool', () => {
    const { client, spoolMaxBytes } = figures();
    if (client.spool.isDiskFailing) return check(false, 'its disk does not take batches');
    const share = client.spoolBytes / spoolMaxBytes;
    return check(share <= SPOOL_SHARE_MAX, `it is ${Math.round(share * 100)} % full`);
  });
  const names = { program: 'telemetry-agent', setting: 'observability.metrics_addr' };
  return startHttpServer(bind, registry, readiness, new Map(), names);
}

function check(ok: boolean, reason: string): CheckResult {
  return ok ? { ok } : { ok, reason };
}
