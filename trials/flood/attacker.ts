/**
 * The attacking process: reads its task from standard input, attacks, and prints what it did as one
 * line of JSON.
 */
import { text } from 'node:stream/consumers';
import type { AttackTask } from './attack.ts';
import { attackNamed } from './attacks.ts';

const task = JSON.parse(await text(process.stdin)) as AttackTask;
// Timers of the QUIC endpoints do not keep a process alive.
const keepAlive = setInterval(() => {}, 1000);
const figures = await attackNamed(task.attack).run(task);
clearInterval(keepAlive);
process.stdout.write(`${JSON.stringify(figures)}\n`);
process.exit(0);
