import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificates } from '../../../src/collector/cli/make-certificates.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { ListenerBed } from '../../helpers/listener-bed.ts';

/** TLS alerts as QUIC codes. */
const UNKNOWN_CA = 304;
const EXPIRED = 301;
const WRONG_USAGE = 299;
const BAD_CERTIFICATE = 298;

describe('certificates of certs --bad', () => {
  const bed = new ListenerBed();
  let dir = '';

  beforeAll(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bad-certificates-'));
    const names = { serverName: ['collector.test'], node: ['gpu-001'] };
    return makeCertificates({ out: dir, ...names, days: 7, bad: true }, () => {});
  });
  afterEach(() => bed.close());
  afterAll(() => fs.rmSync(dir, { recursive: true }));

  function credentials(name: string): QuicCredentials {
    const read = (file: string) => fs.readFileSync(path.join(dir, `${file}.pem`), 'utf8');
    return { certPem: read(name), keyPem: read(`${name}-key`), caPem: read('ca') };
  }

  async function closeOf(server: string, node: string) {
    const listener = await bed.listener(credentials(server));
    const agent = await bed.agent(listener.address, credentials(node));
    await eventually('the handshake fails', () => agent.client.recorder.closed.length === 1);
    return agent.client.recorder.lastReason;
  }

  it.each([
    ['node-expired', EXPIRED],
    ['node-foreign', UNKNOWN_CA],
    ['node-wrong-usage', WRONG_USAGE],
  ])('%s is refused by a collector with alert %d', async (name, code) => {
    expect(await closeOf('server', `bad/${name}`)).toMatchObject({ by: 'peer', code });
  });

  it.each([
    ['server-foreign', UNKNOWN_CA],
    ['server-wrong-usage', WRONG_USAGE],
    ['server-wrong-name', BAD_CERTIFICATE],
  ])('%s is refused by a client with alert %d', async (name, code) => {
    expect(await closeOf(`bad/${name}`, 'gpu-001')).toMatchObject({ by: 'local', code });
  });

  it('server-expired is refused by the collector that should use it', async () => {
    await expect(bed.listener(credentials('bad/server-expired'))).rejects.toThrow('expired on');
  });

  it('leaves the good certificates good', async () => {
    const listener = await bed.listener(credentials('server'));
    const agent = await bed.agent(listener.address, credentials('gpu-001'));
    await eventually('it connects', () => agent.isConnected);
    agent.send(agent.open(), 'hello');
    await eventually('it is greeted', () => agent.hellos.length === 1);
  });
});
