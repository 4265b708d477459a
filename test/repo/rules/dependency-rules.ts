/**
 * What the package says about the packages it uses.
 */

export interface PackageJson {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly allowScripts?: Readonly<Record<string, boolean>>;
}

/** Names of all direct dependencies. */
export function dependencyNames(manifest: PackageJson): string[] {
  return Object.keys(directDependencies(manifest));
}

/** Versions that are not exact. */
export function loosePins(manifest: PackageJson): string[] {
  return Object.entries(directDependencies(manifest))
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `${name} is not pinned exactly: ${version}`);
}

function directDependencies(manifest: PackageJson): Record<string, string> {
  const { dependencies, optionalDependencies, devDependencies } = manifest;
  return { ...dependencies, ...optionalDependencies, ...devDependencies };
}

/** Dependencies without a line of their own in docs/dependencies.md, and lines without one. */
export function undocumentedDependencies(manifest: PackageJson, page: string): string[] {
  const documented = [...page.matchAll(/^\| `([^`]+)` \| \S.{10,} \|$/gm)].map((match) => match[1]);
  const names = dependencyNames(manifest);
  return [
    ...names.filter((name) => !documented.includes(name)).map((name) => `${name} has no reason`),
    ...documented
      .filter((name) => !names.includes(name ?? ''))
      .map((name) => `${name} is not used`),
  ];
}

/** Dependencies that no file imports. */
export function unusedDependencies(
  names: readonly string[],
  imported: ReadonlySet<string>,
): string[] {
  return names.filter(
    (name) => ![...imported].some((to) => to === name || to.startsWith(`${name}/`)),
  );
}

export interface PackageLock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly optionalDependencies?: Readonly<Record<string, string>>;
        readonly optional?: boolean;
        readonly engines?: { readonly node?: string };
        readonly hasInstallScript?: boolean;
      }
    >
  >;
}

/** What `npm ci` would warn of on Node `major.minor`: refused engines, undecided scripts. */
export function installWarnings(
  { packages }: PackageLock,
  { allowScripts = {} }: PackageJson,
  major: number,
  minor: number,
): string[] {
  return Object.entries(packages).flatMap(([place, { engines, optional, hasInstallScript }]) => {
    const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const warnings: string[] = [];
    const range = engines?.node ?? '*';
    const serves = range.split('||').some((one) => includesNode(one.trim(), major, minor));
    if (!serves && optional !== true) warnings.push(`${name} wants Node ${range}`);
    if (hasInstallScript === true && allowScripts[name] === undefined) {
      warnings.push(`${name} has an install script that nobody decided about`);
    }
    return warnings;
  });
}

/** Enough of semver for `engines`: `*`, `>=a`, `^a.b`, `a.x`; an upper bound is not looked at. */
function includesNode(range: string, major: number, minor: number): boolean {
  const found = /^(>=|>|\^|~)?\s*v?(\d+)(?:\.(\d+))?/.exec(range);
  if (found === null) return range === '*' || range === '';
  const [, comparison, wantedMajor, wantedMinor] = found;
  if (Number(wantedMajor) === major) return Number(wantedMinor ?? 0) <= minor;
  return comparison?.startsWith('>') === true && Number(wantedMajor) < major;
}

/** Optional dependencies, usually one per platform, that have no entry of their own in the lock. */
export function unlockedPlatforms({ packages }: PackageLock): string[] {
  return Object.entries(packages)
    .flatMap(([, { optionalDependencies = {} }]) => Object.keys(optionalDependencies))
    .filter((name) => packages[`node_modules/${name}`] === undefined);
}
