import fs from 'node:fs';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { partOf } from './rules/import-rules.ts';
import { sourceFiles } from './rules/repo-files.ts';

const PAGE = fs.readFileSync(packageFile('ARCHITECTURE.md'), 'utf8');
/** What stands behind a seam is in the row of the seam; the gateway has one row for all of it. */
const BEHIND_A_SEAM = /^(journal|transport)\/./;

test('every room of src/ has a row in the table of rooms, and every row a room', () => {
  const [, section = ''] = PAGE.split('## Rooms\n');
  const [table = ''] = section.split('\n## ');
  const rows = [...table.matchAll(/^\| `src\/([\w/-]+)\/` \|/gm)].map((match) => match[1]);
  const rooms = sourceFiles('src')
    .map(({ path }) => (path.split('/').length < 3 ? '' : partOf(path)))
    .map((part) => ({ schema: 'config', metrics: 'observability' })[part] ?? part)
    .map((part) => part.replace(/^gateway\/.*/, 'gateway'))
    .filter((part) => part !== '' && part !== 'collector' && !BEHIND_A_SEAM.test(part));
  expect(rows.toSorted()).toEqual([...new Set(rooms)].toSorted());
});

test('every path on the page exists', () => {
  const paths = [...PAGE.matchAll(/`((?:src|test|trials|demo|bench|native|proto)\/[^\s`*]+)`/g)];
  const missing = paths
    .map((match) => match[1] ?? '')
    .filter((one) => !fs.existsSync(packageFile(one)));
  expect(missing).toEqual([]);
});
