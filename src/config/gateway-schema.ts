/**
 * The section `gateway` of the configuration: the API of telemetry-gateway.
 */
import { z } from 'zod';
import { count, GIB, MIB, seconds } from './schema-parts.ts';
import { parseSocketAddress } from './socket-address.ts';

/** Accepts what the section may say. */
export const gatewaySchema = z.strictObject({
  listen_addr: z
    .string()
    .refine((text) => parseSocketAddress(text) !== undefined)
    .meta({ allowed: 'an IP address and a port, for example 127.0.0.1:8080' })
    .default('127.0.0.1:8080')
    .describe('TCP address and port of the API. Port 0 picks a free one.'),
  access: z
    .enum(['open', 'keys'])
    .default('open')
    .describe('open: everybody on this host may read and write; only on loopback. keys: API keys.'),
  keys_file: z
    .string()
    .min(1)
    .default('/etc/horizon/gateway-keys.json')
    .describe('File of the API keys; `telemetry-gateway keys` writes it. Read again on change.'),
  tls_cert_path: z
    .string()
    .default('')
    .describe('Certificate chain of the API, PEM, leaf first. Empty: HTTP without TLS.'),
  tls_key_path: z.string().default('').describe('Private key of the certificate, PEM.'),
  behind_proxy: z
    .boolean()
    .default(false)
    .describe('A proxy in front ends TLS and sets X-Forwarded-Host; nobody else reaches the port.'),
  allowed_hosts: z
    .array(z.string().min(1).max(253))
    .max(100)
    .default([])
    .describe('Host names that requests may name, beside loopback. Empty: any, with keys.'),
  cors_origins: z
    .array(z.url({ protocol: /^https?$/ }))
    .max(100)
    .default([])
    .describe('Pages of other origins that may ask, such as https://grafana.example.'),
  rate_limit: count(0, 10_000_000)
    .default(6000)
    .describe('Requests per minute of a key that has no limit of its own; 0 = no limit.'),
  max_requests_at_once: count(1, 10_000)
    .default(32)
    .describe('Requests of one caller that run at the same time.'),
  session_hours: z
    .number()
    .min(0.01)
    .max(720)
    .default(12)
    .describe('How long a browser stays logged in.'),
  max_live_clients: count(0, 100_000)
    .default(1000)
    .describe('WebSocket and SSE clients at once; each costs less than 2 MiB.'),
  hot_max_bytes: count(MIB, 64 * GIB)
    .default(256 * MIB)
    .describe('Memory for the newest batches, which telemetry and live resumes are read from.'),
  max_series: count(1, 100_000_000)
    .default(1_000_000)
    .describe('Series whose last values are kept; each takes about 600 bytes.'),
  silent_after_secs: seconds(1, 86_400)
    .default(120)
    .describe('A GPU or node without a sample for so long is silent.'),
  forget_after_secs: seconds(60, 31_536_000)
    .default(86_400)
    .describe('A series without a sample for so long is forgotten.'),
});
