/**
 * Loaded into the daemon before anything else (`node --import`), in its main thread and in every
 * writer thread: samples where the thread's time goes, and leaves a profile named after the thread
 * in PROFILE_DIR when it ends.
 */
import fs from 'node:fs';
import inspector from 'node:inspector';
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';

const INTERVAL_US = 1000;

const session = new inspector.Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.setSamplingInterval', { interval: INTERVAL_US });
session.post('Profiler.start');

process.on('exit', () => {
  const name = isMainThread ? 'main' : fs.readFileSync('/proc/thread-self/comm', 'utf8').trim();
  session.post('Profiler.stop', (error, { profile }) => {
    if (error !== null) return;
    const file = path.join(process.env.PROFILE_DIR ?? '.', `${name}.cpuprofile`);
    fs.writeFileSync(file, JSON.stringify(profile));
  });
});
