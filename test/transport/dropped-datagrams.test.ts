import dgram from 'node:dgram';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { DatagramSocket } from '../../src/transport/datagram-socket.ts';
import { droppedDatagrams } from '../../src/transport/dropped-datagrams.ts';

const BUFFER_BYTES = 65_536;

test.skipIf(process.platform !== 'linux')('what a socket was too slow for is counted', async () => {
  const socket = await DatagramSocket.bind({ host: '127.0.0.1', port: 0 }, BUFFER_BYTES);
  onTestFinished(() => socket.close(systemClock));
  expect(socket.receiveBufferBytes).toBe(BUFFER_BYTES);
  expect(droppedDatagrams(socket.address)).toBe(0);
  const { host, port } = socket.address;
  const sender = dgram.createSocket('udp4');
  onTestFinished(() => void sender.close());
  sender.connect(port, host);
  await once(sender, 'connect');
  // The event loop reads nothing before this is through.
  for (let sent = 0; sent < 1000; sent += 1) sender.send(Buffer.alloc(1000));
  expect(droppedDatagrams(socket.address)).toBeGreaterThan(500);
  expect(droppedDatagrams({ host, port: 1 })).toBe(0);
});
