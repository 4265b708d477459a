/**
 * The least that a durable acknowledgement can be, as a process of its own: of every five datagrams
 * the last is answered once as many pages as a batch changes in the journal are written and synced,
 * and then a page that names them. No protocol, no cryptography, no journal. Prints its port; the
 * first argument is the file to write.
 */
import dgram from 'node:dgram';
import fs from 'node:fs';
import { promisify } from 'node:util';

const DATAGRAMS = 5;
const PAGE_BYTES = 4096;
const PAGES = 10;
/** The file is written through once before, so that no blocks have to be found for it. */
const FILE_BYTES = 32 * 1024 * 1024;
const ANSWER_BYTES = 60;

const write = promisify(fs.write);
const sync = promisify(fs.fdatasync);
const file = fs.openSync(process.argv[2] ?? '', 'w+');
fs.writeSync(file, Buffer.alloc(FILE_BYTES));
fs.fsyncSync(file);

const socket = dgram.createSocket('udp4');
let received = 0;
let offset = PAGE_BYTES;
socket.on('message', (_, { port, address }) => {
  received += 1;
  if (received % DATAGRAMS === 0) void answer(port, address);
});
socket.bind(0, '127.0.0.1', () => process.stdout.write(`${socket.address().port}\n`));

async function answer(port: number, address: string): Promise<void> {
  offset = (offset + PAGES * PAGE_BYTES) % (FILE_BYTES - PAGES * PAGE_BYTES);
  const pages = Buffer.alloc(PAGES * PAGE_BYTES, received);
  await write(file, pages, 0, pages.length, offset);
  await sync(file);
  await write(file, pages, 0, PAGE_BYTES, 0);
  await sync(file);
  socket.send(Buffer.alloc(ANSWER_BYTES), port, address);
}
