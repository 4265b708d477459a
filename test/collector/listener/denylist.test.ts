import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import { Denylist, readDenylist } from '../../../src/collector/listener/denylist.ts';
import { eventually } from '../../helpers/eventually.ts';
import { ListenerBed } from '../../helpers/listener-bed.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

const FINGERPRINT = 'AB:'.repeat(31).concat('CD');
const NOBODY = { fingerprint256: FINGERPRINT, serialNumber: '7F' };

function listOf(text: string): string {
  const file = path.join(tempDir(), 'denied.txt');
  fs.writeFileSync(file, text);
  return file;
}

describe('a denylist', () => {
  it('takes serial numbers and fingerprints in every usual spelling', () => {
    const text = [
      '# lost nodes',
      '',
      '  4f:1a:22:09  # colons',
      '0x00aB',
      FINGERPRINT,
      FINGERPRINT.replaceAll(':', '').toLowerCase(),
      `${'0'.repeat(40)}\r`,
    ];
    const denied = readDenylist(listOf(text.join('\n')));
    expect([...denied]).toEqual(['4F1A2209', 'AB', FINGERPRINT.replaceAll(':', ''), '0']);
    const observer = { onLoaded() {}, onReloadFailed() {} };
    const list = new Denylist(listOf('00ab\n'), systemClock, observer);
    expect(list.has({ ...NOBODY, serialNumber: 'AB' })).toBe(true);
    expect(list.has({ ...NOBODY, serialNumber: '0AB' })).toBe(true);
    expect(list.has({ ...NOBODY, serialNumber: 'AB00' })).toBe(false);
  });

  it.each([
    ['gpu-001', 'line 2 is "gpu-001"'],
    ['AB CD', 'line 2 is "AB CD"'],
    [FINGERPRINT.slice(0, -3), 'line 2 is "AB:'],
    ['0x', 'line 2 is "0x"'],
    [':AB', 'line 2 is ":AB"'],
    ['f'.repeat(41), 'line 2 is "fff'],
  ])('names the line and what stands there: %s', (line, message) => {
    const file = listOf(`# comment\n${line}\nAB\n`);
    expect(() => readDenylist(file)).toThrow(message);
    expect(() => readDenylist(file)).toThrow('cannot use security.denylist_path');
  });

  it('that is missing is an error, and none at all is none', () => {
    expect(() => readDenylist('/nowhere/denied.txt')).toThrow('ENOENT');
    const observer = { onLoaded() {}, onReloadFailed() {} };
    expect(new Denylist('', systemClock, observer).has(NOBODY)).toBe(false);
  });
});

describe('a listener with a denylist', () => {
  const bed = new ListenerBed();
  let authorities: TestAuthorities;
  beforeAll(async () => {
    authorities = await createTestAuthorities();
  });
  afterAll(() => bed.close());

  function namesOf({ certPem }: QuicCredentials) {
    const { serialNumber, fingerprint256 } = new X509Certificate(certPem);
    return { serialNumber, fingerprint256 };
  }

  it('closes a denied connection with 0x1007 at the end of its handshake, and counts it', async () => {
    const denied = await authorities.agent('gpu-001');
    const file = listOf(namesOf(denied).fingerprint256);
    const server = await bed.listener(authorities.server, { security: { denylist_path: file } });
    const agent = await bed.agent(server.address, denied);
    await eventually('it is closed', () => agent.closeCode === 0x1007);
    expect(agent.closeReason).toBe('certificate denied');
    expect(server.door.opened).toHaveLength(0);
    const closed = { by: 'local', reason: 'certificate_denied' };
    expect(await server.metric('connections_closed_total', closed)).toBe(1);
    const other = await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('another certificate of the node connects', () => other.isConnected);
  });

  it('closes an open connection within a second of the change, and nobody else', async () => {
    const credentials = await authorities.agent('gpu-001');
    const file = listOf('# nobody yet\n');
    const server = await bed.listener(authorities.server, { security: { denylist_path: file } });
    const agent = await bed.agent(server.address, credentials);
    const other = await bed.agent(server.address, await authorities.agent('gpu-002'));
    await eventually('both connect', () => server.door.opened.length === 2);
    fs.writeFileSync(file, `# gone\n${namesOf(credentials).serialNumber}\n`);
    const changedMs = performance.now();
    await eventually('it is closed', () => agent.closeCode === 0x1007);
    expect(performance.now() - changedMs).toBeLessThan(1000);
    expect(await server.metric('denylist_entries')).toBe(1);
    const again = await bed.agent(server.address, credentials);
    await eventually('it stays out', () => again.closeCode === 0x1007);
    fs.writeFileSync(file, '# forgiven\n');
    await eventually('it is let in', () => server.log.lines.at(-1)?.entries === 0);
    await bed.agent(server.address, credentials);
    await eventually('it connects', () => server.door.opened.length === 3);
    expect(other.client.recorder.closed).toHaveLength(0);
  });

  it('keeps the old list and raises the alarm when the new one is bad or gone', async () => {
    const credentials = await authorities.agent('gpu-001');
    const file = listOf(namesOf(credentials).serialNumber);
    const server = await bed.listener(authorities.server, { security: { denylist_path: file } });
    fs.writeFileSync(file, 'gpu-001\n');
    await eventually('the alarm', () => server.log.lines.some(isAlarm));
    expect(await server.metric('denylist_valid')).toBe(0);
    expect(await server.metric('denylist_reload_failures_total')).toBe(1);
    const agent = await bed.agent(server.address, credentials);
    await eventually('it is still denied', () => agent.closeCode === 0x1007);
    fs.rmSync(file);
    await expect(server.listener.prepareReload()).rejects.toThrow('denylist_path');
    expect(await server.metric('denylist_entries')).toBe(1);
    fs.writeFileSync(file, '');
    (await server.listener.prepareReload())();
    expect(await server.metric('denylist_valid')).toBe(1);
  });

  it('does not start with a list that it cannot use', async () => {
    const security = { denylist_path: listOf('AB\nnonsense') };
    await expect(bed.listener(authorities.server, { security })).rejects.toThrow(
      'line 2 is "nonsense"',
    );
  });
});

const isAlarm = ({ msg }: { msg: string }) =>
  msg === 'denylist not reloaded; the old one stays in use';
