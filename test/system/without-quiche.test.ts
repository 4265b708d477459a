/**
 * An installation without @matrixai/quic and its native part, as npm makes it on arm64 Linux and on
 * Alpine: everything works, except the stack that needs it.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { Scenario } from '../helpers/scenario.ts';
import { tempDir } from '../helpers/temp-dir.ts';

/** What `files` of package.json installs and the programs read. */
const COPIED = ['package.json', 'proto', 'src/transport/quinn/quinn.wasm', 'dist/src'];
const ABSENT = '@matrixai';

let scenario: Scenario;
afterEach(() => scenario?.close());

/** Installs the product somewhere else; returns the folder. */
function installWithoutQuiche(): string {
  const dir = tempDir();
  for (const name of COPIED) {
    fs.cpSync(packageFile(name), path.join(dir, name), { recursive: true });
  }
  const modules = path.join(dir, 'node_modules');
  fs.mkdirSync(modules);
  const packages = fs.readdirSync(packageFile('node_modules'));
  expect(packages).toContain(ABSENT);
  for (const name of packages.filter((one) => one !== ABSENT)) {
    fs.symlinkSync(packageFile(path.join('node_modules', name)), path.join(modules, name));
  }
  return dir;
}

async function run(program: string, ...words: string[]) {
  const child = spawn(process.execPath, [program, ...words], { env: { PATH: '/usr/bin' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      output += text;
    });
  }
  const [code] = await once(child, 'close');
  return { code, output };
}

async function agentFiles(nodeId: string): Promise<string[]> {
  const { dir, listen } = scenario.deployment;
  const credentials = await scenario.deployment.nodeCredentials(nodeId);
  const write = (name: string, text: string) => {
    const file = path.join(dir, `agent-${name}.pem`);
    fs.writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  return [
    ...['--server', `${listen.host}:${listen.port}`, '--server-name', 'localhost'],
    ...['--cert', write('cert', credentials.certPem), '--key', write('key', credentials.keyPem)],
    ...['--ca', write('ca', credentials.caPem)],
  ];
}

test('check-config, collector and agent work without the optional package', async () => {
  const installed = installWithoutQuiche();
  const collector = path.join(installed, 'dist/src/collector/main.js');
  scenario = await Scenario.open();
  const { configPath } = scenario.deployment;

  const checked = await run(collector, 'check-config', configPath);
  expect(checked, checked.output).toMatchObject({ code: 0 });

  const daemon = DaemonProcess.launch(scenario.deployment, { program: collector });
  scenario.onClose(async () => {
    await daemon.kill();
  });
  await daemon.waitFor('the daemon to be ready', () => daemon.hasLogged('ready'));
  const agent = path.join(installed, 'dist/src/agent/main.js');
  const words = ['--transport', 'quic', '--source', 'simulate', '--gpus', '2', '--once'];
  const sent = await run(agent, ...(await agentFiles('gpu-001')), ...words);
  expect(sent, sent.output).toMatchObject({ code: 0 });
  expect((await daemon.metrics()).sum('samples_accepted_total')).toBeGreaterThan(0);
  await daemon.stop();

  // The package is found nowhere above either: the same look as the program's.
  const look = `import('@matrixai/quic').then(() => process.exit(3), () => process.exit(4))`;
  const node = promisify(execFile)(process.execPath, ['-e', look], { cwd: installed });
  await expect(node).rejects.toMatchObject({ code: 4 });
});

test('server.quic_stack: quiche is then refused, and the package named', async () => {
  const installed = installWithoutQuiche();
  const collector = path.join(installed, 'dist/src/collector/main.js');
  scenario = await Scenario.open({ server: { quic_stack: 'quiche' } });
  const { configPath } = scenario.deployment;
  const why = 'cannot use server.quic_stack quiche: the optional package @matrixai/quic';

  const checked = await run(collector, 'check-config', configPath);
  expect(checked.code).not.toBe(0);
  expect(checked.output).toContain(why);
  expect(checked.output).toContain('set server.quic_stack: quinn');

  const started = await run(collector, configPath);
  expect(started.code).not.toBe(0);
  expect(started.output).toContain(why);
  expect(started.output).toContain('QUIC_STACK_MISSING');
});
