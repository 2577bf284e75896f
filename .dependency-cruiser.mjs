// The import rules: commands → services → core and ports ← adapters, at any depth. `npm run lint` checks them.

const core = '^src/core/';
const ports = '^src/ports/';
const services = '^src/services/';
const adapters = '^src/adapters/';
/** Other engines than this host, one folder each. */
const engines = '^src/engines/';
const engineCore = '^src/engines/([^/]+)/core/';
/** Parses command lines and shows results. */
const frontEnd = '^src/(cli(?!/completion/|/(streams|source-positions)[.]ts)|api)/';
/** Runs in a browser. */
const page = '^src/dashboard/web/';
/** The modules that connect adapters to ports, and read the configuration before there is a host. */
const wiring = '^src/(host|open-engine|cli/defaults)[.]ts$';
/** The only module that starts processes. */
const processes = ['^src/adapters/process[.]ts$'];

/** Imports inside src from a layer to anything else than the given ones. */
const onlyImports = (name, comment, from, ...allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^src/', pathNot: allowed },
});

/** Imports of modules of Node other than the given ones. */
const onlyNode = (name, comment, from, ...allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { dependencyTypes: ['core'], pathNot: `^(node:)?(${allowed.join('|')})$` },
});

/** Imports of these npm packages. */
const noPackages = (name, comment, from, ...packages) => ({
  name,
  comment,
  severity: 'error',
  from,
  to: { path: `(^|/)node_modules/(${packages.join('|')})/` },
});

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Move what both modules need, types too, to a module of its own.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolved',
      comment: 'The imported module does not exist.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-dependencies',
      comment: 'An installed cowherd has no dev dependencies.',
      severity: 'error',
      // The page is bundled with its packages.
      from: { path: '^src/', pathNot: page },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['npm'] },
    },
    onlyImports('core-imports', 'core imports core only.', core, core),
    onlyNode('core-io', 'core has no I/O, no clock and no environment.', core, 'crypto', 'net', 'path', 'url', 'util'),
    noPackages(
      'core-packages',
      'core has no I/O, no clock and no environment.',
      { path: core },
      '@oclif',
      'execa',
      'log-update',
      'write-file-atomic',
    ),
    onlyImports('ports-imports', 'ports import core and ports only.', ports, core, ports),
    onlyNode('ports-io', 'ports declare types.', ports, 'stream'),
    onlyImports('services-imports', 'services import services, core and ports only.', services, services, core, ports),
    onlyNode('services-io', 'services use ports for I/O.', services, 'crypto', 'path', 'timers/promises', 'url', 'util', 'zlib'),
    noPackages(
      'services-packages',
      'services use ports for I/O, and print nothing.',
      { path: services },
      '@oclif',
      'execa',
      'log-update',
      'write-file-atomic',
    ),
    onlyImports('adapters-imports', 'adapters import adapters, core and ports only.', adapters, adapters, core, ports),
    noPackages('adapters-packages', 'adapters do not know the command line.', { path: adapters }, '@oclif', 'log-update'),
    onlyImports(
      'engines-imports',
      'an engine imports core, ports, services and itself only.',
      '^src/engines/([^/]+)/',
      core,
      ports,
      services,
      '^src/engines/$1/',
    ),
    noPackages('engines-packages', 'engines do not know the command line.', { path: engines }, '@oclif', 'log-update'),
    onlyImports('engine-core-imports', 'the core of an engine imports core and itself only.', engineCore, core, '^src/engines/$1/core/'),
    onlyNode(
      'engine-core-io',
      'the core of an engine has no I/O, no clock and no environment.',
      engineCore,
      'crypto',
      'net',
      'path',
      'url',
      'util',
    ),
    noPackages(
      'engine-core-packages',
      'the core of an engine has no I/O, no clock and no environment.',
      { path: engineCore },
      'execa',
      'p-limit',
      'write-file-atomic',
    ),
    {
      name: 'engines-wiring',
      comment: 'Only open-engine.ts imports engines: call an engine through its interface.',
      severity: 'error',
      from: { path: '^src/', pathNot: [engines, wiring] },
      to: { path: engines },
    },
    {
      name: 'adapters-wiring',
      comment: 'Only host.ts, open-engine.ts and cli/defaults.ts import adapters: call a service.',
      severity: 'error',
      from: { path: '^src/', pathNot: [adapters, wiring] },
      to: { path: adapters },
    },
    {
      name: 'commands-imports',
      comment: 'oclif loads the commands. Move shared code out of them.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^src/cli/commands/' },
    },
    {
      name: 'front-end-io',
      comment: 'commands and what they show do no I/O: call a service.',
      severity: 'error',
      from: { path: frontEnd, pathNot: wiring },
      to: { dependencyTypes: ['core'], path: '^(node:)?(fs|fs/promises|child_process|net)$' },
    },
    onlyImports('page-imports', 'the page imports types of the protocol and core only.', page, page, '^src/dashboard/protocol[.]ts$', core),
    onlyNode('page-node', 'the page runs in a browser.', page, 'none'),
    onlyImports(
      'dashboard-imports',
      'the server of the dashboard calls services, as commands do.',
      '^src/dashboard/server/',
      '^src/dashboard/server/',
      '^src/dashboard/protocol[.]ts$',
      '^src/host[.]ts$',
      services,
      core,
      ports,
    ),
    onlyNode(
      'dashboard-io',
      'the server of the dashboard listens; for everything else it calls services.',
      '^src/dashboard/server/',
      'crypto',
      'http',
      'https',
      'net',
      'path',
      'stream',
      'timers/promises',
      'url',
      'util',
    ),
    noPackages('front-end-packages', 'core and adapters read XML.', { path: frontEnd }, 'fast-xml-parser', 'write-file-atomic'),
    {
      name: 'processes',
      comment: 'Only adapters/process.ts starts processes.',
      severity: 'error',
      from: { path: '^src/', pathNot: processes },
      to: { dependencyTypes: ['core'], path: '^(node:)?(child_process|cluster)$' },
    },
    noPackages('process-packages', 'Only adapters/process.ts starts processes.', { path: '^src/', pathNot: processes }, 'execa'),
  ],
  options: {
    // Imports of types count.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|test)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default'] },
  },
};
