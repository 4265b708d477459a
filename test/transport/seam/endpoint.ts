/** Handshakes, and bytes both ways. */
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed } from '../../helpers/quic-pair.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** The suite, over a stack. */
export function endpointSuite(stack: QuicStack): void {
  describe('a QUIC endpoint', () => {
    const bed = new QuicTestBed(stack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(() => bed.close());

    test('completes a handshake and both sides know the other certificate', async () => {
      const server = await bed.server(authorities.server);
      const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
      await eventually('both are connected', () => {
        return server.recorder.connected.length === 1 && client.recorder.connected.length === 1;
      });
      const atServer = server.recorder.connected[0]!;
      expect(atServer.peerCertificates()).toHaveLength(1);
      expect(client.connection.peerCertificates()).toHaveLength(1);
      expect(atServer.remoteAddress).toEqual(client.endpoint.address);
      expect(client.connection.remoteAddress).toEqual(server.endpoint.address);
      expect(server.endpoint.handshakes).toBe(0);
      expect(server.endpoint.connections).toBe(1);
    });

    test('carries some megabytes both ways without changing a byte', async () => {
      const server = await bed.server(authorities.server);
      server.recorder.react = {
        onData: (connection, streamId, bytes, fin) => connection.write(streamId, bytes, fin),
      };
      const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
      await eventually('the client is connected', () => client.recorder.connected.length === 1);
      const sent = randomBytes(5_000_000);
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, sent, true);
      const echo = client.recorder.stream(client.connection, streamId);
      await eventually('the echo is complete', () => echo.fin);
      expect(sha256(Buffer.concat(echo.chunks))).toBe(sha256(sent));
      expect(client.connection.queuedBytes).toBe(0);
      expect(client.recorder.drained).toBeGreaterThan(0);
    });

    test('tells each side who closed and why', async () => {
      const server = await bed.server(authorities.server);
      const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
      await eventually('the server is connected', () => server.recorder.connected.length === 1);
      server.recorder.connected[0]!.close(0x1001, 'bad frame');
      await eventually('both are closed', () => {
        return server.recorder.closed.length === 1 && client.recorder.closed.length === 1;
      });
      const reason = { isApplication: true, code: 0x1001, reason: 'bad frame', wasConnected: true };
      expect(server.recorder.lastReason).toEqual({ by: 'local', ...reason });
      expect(client.recorder.lastReason).toEqual({ by: 'peer', ...reason });
      expect(server.endpoint.connections).toBe(0);
    });
  });
}
