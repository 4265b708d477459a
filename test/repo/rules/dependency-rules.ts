/**
 * What the package says about the packages it uses.
 */

export interface PackageJson {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Names of all direct dependencies. */
export function dependencyNames(manifest: PackageJson): string[] {
  return Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
}

/** Versions that are not exact. */
export function loosePins(manifest: PackageJson): string[] {
  return Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `${name} is not pinned exactly: ${version}`);
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
    Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>
  >;
}

/** Optional dependencies, usually one per platform, that have no entry of their own in the lock. */
export function unlockedPlatforms({ packages }: PackageLock): string[] {
  return Object.entries(packages)
    .flatMap(([, { optionalDependencies = {} }]) => Object.keys(optionalDependencies))
    .filter((name) => packages[`node_modules/${name}`] === undefined);
}
