/** Trust that changes while agents are connected: authorities, revocation lists, stolen keys. */
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import { readCrlFile } from '../../../src/collector/listener/crl-file.ts';
import { Trust } from '../../../src/collector/listener/trust.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { ListenerBed, type TestAgent } from '../../helpers/listener-bed.ts';
import { ShiftableClock } from '../../helpers/shiftable-clock.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import { createCrl, crlPem, earlierCertificate } from '../../helpers/test-crl.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

const bed = new ListenerBed();
let authorities: TestAuthorities;
beforeAll(async () => {
  authorities = await createTestAuthorities();
});
afterAll(() => bed.close());

const isOpen = (agent: TestAgent) => agent.client.recorder.closed.length === 0;

describe('an authority that is replaced', () => {
  async function agentOf(authority: Awaited<ReturnType<typeof createAuthority>>, name: string) {
    const request = { commonName: name, dnsNames: [name] };
    const pair = await issueCertificate(authority, request);
    return { ...pair, caPem: authorities.collectors.certPem };
  }

  it('takes those it signed with it, within a second, and nobody else', async () => {
    const next = await createAuthority('Agents CA');
    const server = await bed.listener(authorities.server);
    const old = await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('the old one connects', () => server.door.opened.length === 1);
    const { caPem } = authorities.server;
    server.files.write({ caPem: caPem + next.certPem });
    await eventually('both are trusted', () => server.log.lines.filter(isLoaded).length === 2);
    const other = await bed.agent(server.address, await agentOf(next, 'gpu-002'));
    await eventually('one of the new authority connects', () => server.door.opened.length === 2);
    expect(isOpen(old)).toBe(true);
    server.files.write({ caPem: next.certPem });
    await eventually('the old one is closed', () => old.closeCode === 0x1009);
    expect(
      await server.metric('connections_closed_total', { reason: 'certificate_untrusted' }),
    ).toBe(1);
    expect(isOpen(other)).toBe(true);
  });

  it('takes those with it that came through an authority between', async () => {
    const root = await createAuthority('Root');
    const between = await createAuthority('Between', { parent: root });
    const leaf = await agentOf(between, 'gpu-003');
    const server = await bed.listener({ ...authorities.server, caPem: root.certPem });
    const chain = { ...leaf, certPem: leaf.certPem + between.certPem };
    const agent = await bed.agent(server.address, chain);
    await eventually('it connects', () => server.door.opened.length === 1);
    server.files.write({ caPem: root.certPem + authorities.agents.certPem });
    await eventually('more are trusted', () => server.log.lines.filter(isLoaded).length === 2);
    expect(isOpen(agent)).toBe(true);
    server.files.write({ caPem: authorities.agents.certPem });
    await eventually('it is closed', () => agent.closeCode === 0x1009);
  });
});

describe('revocation lists', () => {
  const fileWith = (bytes: string | Uint8Array) => {
    const file = path.join(tempDir(), 'agents.crl');
    fs.writeFileSync(file, bytes);
    return file;
  };

  async function serverWith(file: string) {
    return bed.listener(authorities.server, { security: { crl_path: file } });
  }

  async function expectDenied(address: { host: string; port: number }, one: QuicCredentials) {
    const agent = await bed.agent(address, one);
    await eventually('it is turned away', () => agent.closeCode === 0x1008);
  }

  it('turn revoked certificates away, in DER and in PEM with several lists', async () => {
    const revoked = await authorities.agent('gpu-001');
    const list = await createCrl(authorities.agents, [revoked.certPem]);
    const nobody = await createCrl(authorities.agents, []);
    for (const bytes of [list, crlPem(nobody) + crlPem(list)]) {
      const server = await serverWith(fileWith(bytes));
      await expectDenied(server.address, revoked);
      await bed.agent(server.address, await authorities.agent('gpu-001'));
      await eventually('another certificate connects', () => server.door.opened.length === 1);
      expect(await server.metric('crl_entries')).toBe(1);
    }
  });

  it('close what is connected within a second of the change, and nobody else', async () => {
    const credentials = await authorities.agent('gpu-001');
    const file = fileWith(await createCrl(authorities.agents, []));
    const server = await serverWith(file);
    const agent = await bed.agent(server.address, credentials);
    const other = await bed.agent(server.address, await authorities.agent('gpu-002'));
    await eventually('both connect', () => server.door.opened.length === 2);
    fs.writeFileSync(file, await createCrl(authorities.agents, [credentials.certPem]));
    await eventually('it is closed', () => agent.closeCode === 0x1008);
    expect(agent.closeReason).toBe('certificate revoked by its authority');
    expect(isOpen(other)).toBe(true);
  });

  it('that nobody trusted has signed, or that are broken, keep the old ones in use', async () => {
    const revoked = await authorities.agent('gpu-001');
    const file = fileWith(await createCrl(authorities.agents, [revoked.certPem]));
    const server = await serverWith(file);
    const imposter = await createAuthority('Agents CA');
    const forged = await createCrl(imposter, []);
    const failures = () => server.log.lines.filter(isCrlAlarm).length;
    fs.writeFileSync(file, forged);
    await eventually('the alarm', () => failures() === 1);
    fs.writeFileSync(file, 'nothing of the kind');
    await eventually('the alarm again', () => failures() === 2);
    expect(await server.metric('crl_valid')).toBe(0);
    await expectDenied(server.address, revoked);
    await expect(serverWith(file)).rejects.toThrow('cannot use security.crl_path');
    await expect(serverWith(fileWith(forged))).rejects.toThrow('is not signed by an authority');
  });

  it('count for every certificate that the authority has, also when the first one has ended', async () => {
    const revoked = await authorities.agent('gpu-001');
    const file = fileWith(await createCrl(authorities.agents, [revoked.certPem]));
    const endMs = Date.now() + 86_400_000;
    const earlier = await earlierCertificate(authorities.agents, new Date(endMs));
    const both = [earlier, authorities.agents.certPem].map((pem) => new X509Certificate(pem));
    const trust = new Trust();
    trust.setAuthorities(both);
    trust.setRevoked((await readCrlFile(file, both)).revoked);
    const chain = [new X509Certificate(revoked.certPem).raw];
    expect(trust.judge(chain, endMs - 60_000)).toBe('revoked');
    expect(trust.judge(chain, endMs + 60_000)).toBe('revoked');
    const other = await authorities.agent('gpu-002');
    expect(trust.judge([new X509Certificate(other.certPem).raw], endMs + 60_000)).toBe('trusted');
  });

  it('that are overdue are used further, and the metrics say since when', async () => {
    const revoked = await authorities.agent('gpu-001');
    const due = new Date(Math.floor(Date.now() / 1000) * 1000 - 3_600_000);
    const server = await serverWith(
      fileWith(await createCrl(authorities.agents, [revoked.certPem], due)),
    );
    await expectDenied(server.address, revoked);
    expect(await server.metric('crl_next_update_timestamp_seconds')).toBe(due.getTime() / 1000);
    await bed.agent(server.address, await authorities.agent('gpu-002'));
    await eventually('others connect', () => server.door.opened.length === 1);
  });
});

describe('idle connections of a stolen certificate', () => {
  it('make room for a new one of the node, the longest idle first', async () => {
    const clock = new ShiftableClock();
    const server = await bed.listener(authorities.server, {
      clock,
      server: { max_connections_per_node: 2 },
    });
    const stolen = await authorities.agent('gpu-001');
    const idle = await bed.agent(server.address, stolen);
    await eventually('it connects', () => server.door.opened.length === 1);
    const busy = await bed.agent(server.address, stolen);
    await eventually('it connects, too', () => server.door.opened.length === 2);
    clock.shift(11_000);
    busy.send(busy.open(), 'frame');
    await eventually('its frame is answered', () => busy.acks.length === 1);
    const owner = await bed.agent(server.address, stolen);
    await eventually('the owner connects', () => server.door.opened.length === 3);
    await eventually('the idle one goes', () => idle.closeCode === 0x1003);
    expect([isOpen(owner), isOpen(busy)]).toEqual([true, true]);
    const late = await bed.agent(server.address, stolen);
    await eventually('nobody is idle now', () => late.closeCode === 0x1003);
  });
});

const isLoaded = ({ msg }: { msg: string }) => msg === 'TLS credentials loaded';
const isCrlAlarm = ({ msg }: { msg: string }) =>
  msg === 'revocation lists not reloaded; the old ones stay in use';
