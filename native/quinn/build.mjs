/**
 * Builds src/transport/quinn/quinn.wasm from native/quinn: `npm run build:quinn`. With `--check` it
 * builds beside it and compares, bit for bit.
 *
 * Needs rustup (rust-toolchain.toml names the version), clang 14 and llvm-ar 14; wasm-opt comes
 * from the registry in the version below.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const BINARYEN = 'binaryen@132.0.0';
const here = import.meta.dirname;
const target = path.join(here, '../../src/transport/quinn/quinn.wasm');
const record = `${target}.json`;

/** What the module is made of, in a fixed order. */
function sourceFiles() {
  const sources = fs.readdirSync(path.join(here, 'src')).map((name) => `src/${name}`);
  const rest = [
    'Cargo.toml',
    'Cargo.lock',
    'rust-toolchain.toml',
    '.cargo/config.toml',
    'build.mjs',
  ];
  return [...sources, ...rest].sort();
}

function sha256(...contents) {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(content);
  return hash.digest('hex');
}

/** Of names and contents of all sources. */
export function sourcesSha256() {
  return sha256(
    ...sourceFiles().flatMap((name) => [`${name}\0`, fs.readFileSync(path.join(here, name)), '\0']),
  );
}

function run(command, args, env = {}) {
  execFileSync(command, args, { cwd: here, stdio: 'inherit', env: { ...process.env, ...env } });
}

/** Compiles into `file`. Paths of this machine stay out of it. */
function build(file) {
  const cargoHome = process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo');
  const registry = path.join(cargoHome, 'registry/src');
  const flags = ['-Ctarget-feature=+simd128', `--remap-path-prefix=${here}=/quinn`];
  run('cargo', ['fetch', '--locked']);
  const mirrors = fs.readdirSync(registry);
  flags.push(...mirrors.map((one) => `--remap-path-prefix=${path.join(registry, one)}=/crates`));
  const maps = mirrors.map((one) => `-ffile-prefix-map=${path.join(registry, one)}=/crates`);
  run('cargo', ['build', '--release', '--locked'], {
    CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f'),
    CFLAGS_wasm32_wasip1: ['-O3', '-msimd128', ...maps].join(' '),
  });
  const built = path.join(here, 'target/wasm32-wasip1/release/quinn_module.wasm');
  const features = [
    'simd',
    'bulk-memory',
    'sign-ext',
    'nontrapping-float-to-int',
    'mutable-globals',
  ];
  const options = features.map((feature) => `--enable-${feature}`);
  run('npx', [
    '--yes',
    '-p',
    BINARYEN,
    'wasm-opt',
    '-O3',
    '--strip-debug',
    '--strip-producers',
    ...options,
    built,
    '-o',
    file,
  ]);
}

if (process.argv[1] === import.meta.filename) {
  if (process.argv.includes('--check')) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'quinn-'));
    const file = path.join(dir, 'quinn.wasm');
    build(file);
    const [built, committed] = [sha256(fs.readFileSync(file)), sha256(fs.readFileSync(target))];
    fs.rmSync(dir, { recursive: true });
    if (built !== committed) throw new Error(`built ${built}, committed ${committed}`);
    process.stdout.write(`quinn.wasm is what its sources make: ${built}\n`);
  } else {
    fs.mkdirSync(path.dirname(target), { recursive: true });
    build(target);
    const wasm = sha256(fs.readFileSync(target));
    fs.writeFileSync(record, `${JSON.stringify({ sources: sourcesSha256(), wasm }, null, 2)}\n`);
  }
}
