/**
 * Loaded into a daemon by `--require`: SIGUSR2 makes its main thread stand still, in JavaScript or,
 * where TEST_HANG_IN=native, in a system call.
 */
const { execFileSync } = require('node:child_process');
const { isMainThread } = require('node:worker_threads');

function standStillInJavaScript() {
  for (let turns = 0; ; turns += 1) Math.sqrt(turns);
}

function standStillInNativeCode() {
  execFileSync('sleep', ['60']);
}

if (isMainThread) {
  const native = process.env.TEST_HANG_IN === 'native';
  process.on('SIGUSR2', native ? standStillInNativeCode : standStillInJavaScript);
}
