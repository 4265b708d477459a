import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import {
  dependencyNames,
  installWarnings,
  loosePins,
  type PackageJson,
  type PackageLock,
  undocumentedDependencies,
  unlockedPlatforms,
  unusedDependencies,
} from './rules/dependency-rules.ts';
import { importsOf } from './rules/import-rules.ts';
import { PROGRAM_FOLDERS, sourceFiles } from './rules/repo-files.ts';

const manifest = JSON.parse(fs.readFileSync(packageFile('package.json'), 'utf8')) as PackageJson;
/** Used by the scripts of package.json or for their types, not by an import. */
const TOOLS = ['@biomejs/biome', '@types/node', '@types/ws', 'typescript'];

describe('dependencies', () => {
  it('are pinned to exact versions', () => {
    expect(loosePins(manifest)).toEqual([]);
  });

  it('have a reason each in docs/dependencies.md', () => {
    const page = fs.readFileSync(packageFile('docs/dependencies.md'), 'utf8');
    expect(undocumentedDependencies(manifest, page)).toEqual([]);
  });

  it('are used, those of the program by the program', () => {
    const importsUnder = (...folders: string[]) =>
      new Set(sourceFiles(...folders).flatMap((file) => importsOf(file).map(({ to }) => to)));
    const { dependencies, optionalDependencies } = manifest;
    const names = Object.keys({ ...dependencies, ...optionalDependencies });
    expect(unusedDependencies(names, importsUnder('src'))).toEqual([]);
    const tools = Object.keys(manifest.devDependencies ?? {}).filter((one) => !TOOLS.includes(one));
    expect(unusedDependencies(tools, importsUnder(...PROGRAM_FOLDERS, 'test'))).toEqual([]);
  });

  it('are imported only when they are declared', () => {
    const declared = dependencyNames(manifest);
    const strangers = sourceFiles(...PROGRAM_FOLDERS, 'test')
      .flatMap(importsOf)
      .filter(({ to, isPackage }) => isPackage && !to.startsWith('node:'))
      .filter(({ to }) => !declared.some((name) => to === name || to.startsWith(`${name}/`)))
      .filter(({ from }) => !from.startsWith('test/repo/'))
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(strangers).toEqual([]);
  });

  it('are locked without the address of a registry', () => {
    const lock = fs.readFileSync(packageFile('package-lock.json'), 'utf8');
    expect(lock).not.toMatch(/"resolved":/);
    expect(lock).toMatch(/"integrity":/);
  });

  it('are locked for every platform, or npm ci refuses the lock', () => {
    const lock = fs.readFileSync(packageFile('package-lock.json'), 'utf8');
    expect(unlockedPlatforms(JSON.parse(lock) as PackageLock)).toEqual([]);
  });

  it('install without a warning on the oldest Node that is supported', () => {
    const lock = JSON.parse(fs.readFileSync(packageFile('package-lock.json'), 'utf8'));
    expect(installWarnings(lock as PackageLock, manifest, 20, 19)).toEqual([]);
  });
});

describe('the rules of dependencies', () => {
  const bad: PackageJson = {
    dependencies: { a: '^1.2.3', b: '1.2.3' },
    optionalDependencies: { e: '~1.2.3' },
    devDependencies: { c: 'latest', d: '1.0.0-rc.1' },
  };

  it('notice versions that are not exact', () => {
    expect(loosePins(bad)).toEqual([
      'a is not pinned exactly: ^1.2.3',
      'e is not pinned exactly: ~1.2.3',
      'c is not pinned exactly: latest',
    ]);
  });

  it('notice missing and superfluous reasons', () => {
    const page =
      '| `a` | A good reason, at length. |\n| `b` | no |\n| `gone` | Was used once upon. |';
    expect(undocumentedDependencies(bad, page)).toEqual([
      'b has no reason',
      'e has no reason',
      'c has no reason',
      'd has no reason',
      'gone is not used',
    ]);
  });

  it('notice packages that nobody imports', () => {
    expect(unusedDependencies(['a', 'b', '@c/d'], new Set(['a/sub.js', '@c/d', 'bb']))).toEqual([
      'b',
    ]);
  });

  it('notice what an install would warn of', () => {
    const lock = {
      packages: {
        '': { engines: { node: '>=20.19' } },
        'node_modules/a': { engines: { node: '^20.19.0 || >=22' } },
        'node_modules/b/node_modules/c': { engines: { node: '>=22' } },
        'node_modules/d': { engines: { node: '>= 20.20' }, optional: true },
        'node_modules/e': { engines: { node: '18.x || ^20.20' }, hasInstallScript: true },
        'node_modules/f': { hasInstallScript: true },
      },
    };
    expect(installWarnings(lock, { allowScripts: { f: false } }, 20, 19)).toEqual([
      'c wants Node >=22',
      'e wants Node 18.x || ^20.20',
      'e has an install script that nobody decided about',
    ]);
  });

  it('notice a platform that is not locked', () => {
    const lock = {
      packages: {
        'node_modules/quic': {
          optionalDependencies: { 'quic-linux': '1.0.0', 'quic-mac': '1.0.0' },
        },
        'node_modules/quic-linux': {},
      },
    };
    expect(unlockedPlatforms(lock)).toEqual(['quic-mac']);
  });
});
