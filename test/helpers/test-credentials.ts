/**
 * Certificates for tests: one authority for agents, one for collectors, and what the two sides show
 * each other.
 */
import type { KeyPairPem } from '../../src/collector/cli/development-certificates.ts';
import {
  type CertificateRequest,
  createAuthority,
  issueCertificate,
} from '../../src/collector/cli/development-certificates.ts';
import type { QuicCredentials } from '../../src/transport/quic-endpoint.ts';

export interface TestAuthorities {
  readonly agents: KeyPairPem;
  readonly collectors: KeyPairPem;
  /** What the collector `collector.test` shows and trusts. */
  readonly server: QuicCredentials;
  /** An agent's credentials; by default DNS SAN = common name, usage clientAuth. */
  agent(name: string, request?: Partial<CertificateRequest>): Promise<QuicCredentials>;
}

export const SERVER_NAME = 'collector.test';

export async function createTestAuthorities(): Promise<TestAuthorities> {
  const [agents, collectors] = await Promise.all([
    createAuthority('Agents CA'),
    createAuthority('Collectors CA'),
  ]);
  const serverPair = await issueCertificate(collectors, {
    commonName: SERVER_NAME,
    dnsNames: [SERVER_NAME],
    usages: ['serverAuth'],
  });
  return {
    agents,
    collectors,
    server: { ...serverPair, caPem: agents.certPem },
    async agent(name, request = {}) {
      const pair = await issueCertificate(agents, {
        commonName: name,
        dnsNames: [name],
        usages: ['clientAuth'],
        ...request,
      });
      return { ...pair, caPem: collectors.certPem };
    },
  };
}
