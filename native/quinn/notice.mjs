/**
 * Writes NOTICE from Cargo's metadata: which crates are inside quinn.wasm, and their licences. With
 * `--check` it compares instead. A crate whose licence nobody has agreed to is an error. Needs cargo.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const here = import.meta.dirname;
const notice = path.join(here, '../../NOTICE');
/** One of the alternatives that a crate offers must be made of these. */
const AGREED = new Set(['Apache-2.0', 'MIT', 'ISC', 'BSD-3-Clause', 'Zlib']);
const LICENCE_FILE = /^(licen[cs]e|copying|copyright|notice)/i;
const HEAD = `Telemetry Collector
Licensed under the Apache License, Version 2.0 (see LICENSE).

src/transport/quinn/quinn.wasm is compiled from native/quinn and contains code of the crates below and of the standard
library of Rust (MIT OR Apache-2.0). Made by native/quinn/notice.mjs.
`;

/** The crates that are linked in: no build scripts, no macros, nothing that only tests need. */
function linkedCrates() {
  const words = ['metadata', '--locked', '--format-version', '1'];
  const output = execFileSync('cargo', [...words, '--filter-platform', 'wasm32-wasip1'], {
    cwd: here,
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { packages, resolve } = JSON.parse(output);
  const crates = new Map(packages.map((one) => [one.id, one]));
  const nodes = new Map(resolve.nodes.map((one) => [one.id, one]));
  const isMacro = ({ targets }) => targets.some(({ kind }) => kind.includes('proc-macro'));
  const linked = new Set();
  const pending = [resolve.root];
  for (const id of pending) {
    if (linked.has(id) || isMacro(crates.get(id))) continue;
    linked.add(id);
    const deps = nodes
      .get(id)
      .deps.filter((dep) => dep.dep_kinds.some(({ kind }) => kind === null));
    pending.push(...deps.map(({ pkg }) => pkg));
  }
  linked.delete(resolve.root);
  return [...linked]
    .map((id) => crates.get(id))
    .sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}

function isAgreed(licence) {
  const alternatives = licence.replaceAll(/[()]/g, '').split(/ OR |\//);
  return alternatives.some((one) => one.split(' AND ').every((part) => AGREED.has(part.trim())));
}

/** Texts of a crate's licences; of several that it offers, the one that is shorter to give. */
function licenceTexts({ name, manifest_path }) {
  const dir = path.dirname(manifest_path);
  const files = fs
    .readdirSync(dir)
    .filter((file) => LICENCE_FILE.test(file))
    .sort();
  const mit = files.filter((file) => /mit/i.test(file));
  const chosen = mit.length > 0 ? mit : files;
  if (chosen.length === 0) throw new Error(`${name} brings no text of its licence`);
  return chosen.map((file) => fs.readFileSync(path.join(dir, file), 'utf8').trim());
}

function render(crates) {
  const unknown = crates.filter(({ license }) => !isAgreed(license));
  if (unknown.length > 0) {
    const list = unknown.map(({ name, license }) => `${name} (${license})`).join(', ');
    throw new Error(`nobody has agreed to the licence of ${list}`);
  }
  const table = crates.map(({ name, version, license }) => `  ${name} ${version}: ${license}`);
  const byText = new Map();
  for (const crate of crates) {
    for (const text of licenceTexts(crate)) {
      byText.set(text, [...(byText.get(text) ?? []), crate.name]);
    }
  }
  const rule = '-'.repeat(80);
  const texts = [...byText].map(([text, names]) => `${rule}\n${names.join(', ')}\n\n${text}\n`);
  return `${HEAD}\n${table.join('\n')}\n\n${texts.join('\n')}`.replaceAll('\r\n', '\n');
}

const text = render(linkedCrates());
if (process.argv.includes('--check')) {
  if (fs.readFileSync(notice, 'utf8') !== text) {
    throw new Error('NOTICE is not what Cargo says; run node native/quinn/notice.mjs');
  }
} else {
  fs.writeFileSync(notice, text);
}
