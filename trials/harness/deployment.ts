/**
 * A complete installation of the collector in one directory: certificates, configuration, data. The
 * demo, the scenario tests and the benchmarks all run the real daemon from one of these.
 */
import fs from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import {
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from '../../src/collector/cli/development-certificates.ts';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { freePort } from './free-port.ts';

/** Settings as they would stand in the YAML file, by section. */
export type Settings = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export class Deployment {
  readonly dir: string;
  readonly configPath: string;
  readonly authority: KeyPairPem;
  /** Where the daemon listens: chosen here, so that agents find it again after a restart. */
  readonly listen: QuicAddress;
  readonly metricsUrl: string;
  readonly #credentials = new Map<string, Promise<QuicCredentials>>();

  private constructor(
    dir: string,
    authority: KeyPairPem,
    ports: { readonly quic: number; readonly http: number },
  ) {
    this.dir = dir;
    this.configPath = path.join(dir, 'collector.yaml');
    this.authority = authority;
    this.listen = { host: '127.0.0.1', port: ports.quic };
    this.metricsUrl = `http://127.0.0.1:${ports.http}`;
  }

  /** Makes the certificates and the configuration in `dir`, which must exist. */
  static async create(dir: string, settings: Settings = {}): Promise<Deployment> {
    const authority = await createAuthority('Telemetry Collector development CA');
    const ports = { quic: await freePort(), http: await freePort() };
    const deployment = new Deployment(dir, authority, ports);
    fs.mkdirSync(path.join(dir, 'certs'), { recursive: true });
    await deployment.renewServerCertificate();
    fs.writeFileSync(path.join(dir, 'certs', 'ca.pem'), authority.certPem);
    deployment.configure(settings);
    return deployment;
  }

  get warehouseDir(): string {
    return path.join(this.dir, 'data');
  }

  /** Writes the configuration file anew. */
  configure(settings: Settings): void {
    const { host, port } = this.listen;
    const base: Settings = {
      server: { listen_addr: `${host}:${port}` },
      security: {
        tls_cert_path: path.join(this.dir, 'certs', 'server.pem'),
        tls_key_path: path.join(this.dir, 'certs', 'server-key.pem'),
        tls_ca_path: path.join(this.dir, 'certs', 'ca.pem'),
      },
      journal: { min_free_bytes: 0 },
      parquet: { output_dir: this.warehouseDir },
      observability: {
        metrics_addr: '127.0.0.1',
        metrics_port: Number(new URL(this.metricsUrl).port),
      },
    };
    const merged: Record<string, Record<string, unknown>> = {};
    for (const [section, values] of [...Object.entries(base), ...Object.entries(settings)]) {
      merged[section] = { ...merged[section], ...values };
    }
    fs.writeFileSync(this.configPath, stringify(merged));
  }

  /** Another certificate of the same authority, in the place of the daemon's. */
  async renewServerCertificate(): Promise<void> {
    const server = await issueCertificate(this.authority, {
      commonName: 'collector',
      dnsNames: ['localhost'],
      usages: ['serverAuth'],
    });
    this.writeServerCertificate(server);
  }

  writeServerCertificate(pair: KeyPairPem): void {
    fs.writeFileSync(path.join(this.dir, 'certs', 'server.pem'), pair.certPem);
    fs.writeFileSync(path.join(this.dir, 'certs', 'server-key.pem'), pair.keyPem, { mode: 0o600 });
  }

  /** A client certificate whose only identity is `nodeId`; made once per node. */
  nodeCredentials(nodeId: string): Promise<QuicCredentials> {
    let credentials = this.#credentials.get(nodeId);
    if (credentials === undefined) {
      credentials = this.#issueNode(nodeId);
      this.#credentials.set(nodeId, credentials);
    }
    return credentials;
  }

  async #issueNode(nodeId: string): Promise<QuicCredentials> {
    const pair = await issueCertificate(this.authority, {
      commonName: nodeId,
      dnsNames: [nodeId],
      usages: ['clientAuth'],
    });
    return { ...pair, caPem: this.authority.certPem };
  }
}
