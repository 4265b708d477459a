/**
 * The part of the WebAssembly API that is used here. TypeScript has it only among the types of
 * browsers, and those of Node 20 leave it out.
 */
declare namespace WebAssembly {
  type ImportValue = (...args: never[]) => unknown;
  type ModuleImports = Record<string, ImportValue>;

  class Module {
    constructor(bytes: Uint8Array);
  }

  class Instance {
    constructor(module: Module, imports: Record<string, ModuleImports>);
    readonly exports: Record<string, unknown>;
  }

  interface Memory {
    readonly buffer: ArrayBuffer;
  }

  /** A trap. */
  class RuntimeError extends Error {}
}
