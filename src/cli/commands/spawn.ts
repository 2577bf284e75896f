import { Args, Flags } from '@oclif/core';
import { lackOf, optionWords } from '../../core/engine/declaration.js';
import { CowherdError } from '../../core/errors.js';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { parseWaitRequest } from '../../core/guest/stages.js';
import { formatRange, limits } from '../../core/limits.js';
import type { FleetInput } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import type { Engine } from '../../services/engine/engine.js';
import type { WorkOptions } from '../../services/fleet/access.js';
import { readFleetFile } from '../../services/fleet/file.js';
import { spawnDefaults } from '../../services/fleet/spawn/input/defaults.js';
import type { SpawnOptions } from '../../services/fleet/spawn/input/options.js';
import { readPublicKeys, readSecretValues } from '../../services/guest/seeds.js';
import { BaseCommand } from '../base-command.js';
import { readDefaults } from '../defaults.js';
import { catalogFlags, ownCatalogOf } from '../flags/catalog.js';
import { placementFlags, placementOf } from '../flags/placement.js';
import { concurrencyFlags, dryRunFlag, fileFlag, waitFlags } from '../flags/run.js';
import { parseVariables, seedFlags, specFlags, specOf } from '../flags/spec.js';
import { renderOutcome } from '../render/outcome.js';

export default class Spawn extends BaseCommand {
  static override summary = 'Create and start a fleet: VMs with copy-on-write overlays of one base image.';
  static override description = [
    'Imports the base image once, creates what is missing, starts members that are stopped, and leaves the rest unchanged.',
    'Run it again after a failure, or with a larger --count to grow the fleet.',
    'If the fleet exists, its settings stay as they are unless you give a flag.\n\n"cowherd up" is an alias: "cowherd up -f lab.yaml" creates or completes all fleets in a file.',
  ].join(' ');
  static override aliases = ['up'];
  static override examples = [
    { description: 'A hundred VMs', command: '<%= config.bin %> <%= command.id %> lab --base golden.qcow2 --count 100' },
    { description: 'Grow the fleet', command: '<%= config.bin %> <%= command.id %> lab --count 120' },
    {
      description: 'Show what would be done',
      command: '<%= config.bin %> <%= command.id %> lab --base golden.qcow2 --count 100 --dry-run',
    },
    {
      description: 'Linux guests with names, keys and addresses, ready for ssh',
      command:
        '<%= config.bin %> <%= command.id %> lab --base debian-12.qcow2 --count 5 --seed nocloud --network network=default --wait ssh',
    },
    {
      description: 'The same as an unprivileged user',
      command: '<%= config.bin %> <%= command.id %> lab --base debian-12.qcow2 --count 5 --seed nocloud --forward-ssh --wait ssh',
    },
    {
      description: 'Wait until each console shows a login prompt',
      command: '<%= config.bin %> <%= command.id %> lab --base golden.qcow2 --count 5 --wait "console=login:"',
    },
    {
      description: 'Five copies of an existing domain that is shut off',
      command: '<%= config.bin %> <%= command.id %> lab --from-domain win11 --count 5',
    },
    {
      description: 'Twenty instant clones of a running VM, which continues to run',
      command: '<%= config.bin %> <%= command.id %> lab --from-running gold --count 20',
    },
    {
      description: 'A hundred ready Debian VMs for the price of one boot',
      command:
        '<%= config.bin %> <%= command.id %> lab --base debian-12.qcow2 --count 100 --seed smbios --wait agent,cloud-init --boot-once',
    },
    {
      description: 'Clones of a running VM with a TPM: all can unseal the same secrets',
      command: '<%= config.bin %> <%= command.id %> lab --from-running secure --count 5 --share-tpm',
    },
    { description: 'A lab of several fleets', command: '<%= config.bin %> <%= command.id %> --file lab.yaml' },
    {
      description: 'Twelve servers on OpenStack, from an image of the cloud',
      command:
        '<%= config.bin %> <%= command.id %> lab --connect openstack://CLOUD --base debian-12 --flavor m1.small --network network=private --count 12 --wait ssh',
    },
  ];
  static override args = { fleet: Args.string({ description: 'name of the fleet' }) };
  static override flags = {
    base: Flags.string({
      char: 'b',
      description:
        'base image of a new fleet: a file, or the name of an image in the store or of the cloud; with a dot or a slash it is a file (./golden)',
      helpValue: 'FILE|NAME',
    }),
    pull: Flags.boolean({
      description: 'download the base image if it is not in the store: a name of the catalog, or a URL',
      dependsOn: ['base'],
    }),
    catalog: catalogFlags.catalog,
    'from-domain': Flags.string({
      description: 'domain that is shut off: its XML becomes the template, its disks become base images',
      helpValue: 'DOMAIN',
    }),
    'from-running': Flags.string({
      description: 'running domain: it is paused while its disk is copied, and members resume from its memory instead of booting',
      helpValue: 'DOMAIN',
    }),
    'keep-frozen': Flags.boolean({
      description: 'with --from-running: do not resume the domain; libvirt keeps its memory in a managed save',
      dependsOn: ['from-running'],
    }),
    'share-tpm': Flags.boolean({
      description:
        'with --from-running or --boot-once: clone a VM that has a TPM; each clone starts with a copy of its state, so all can unseal the same secrets',
      relationships: [{ type: 'some', flags: ['from-running', 'boot-once'] }],
    }),
    'boot-once': Flags.boolean({
      description:
        'boot one VM, and create all members as clones of it once it is ready (see --wait [default here: agent, and cloud-init if the image names it])',
      exclusive: ['from-running', 'from-domain', 'file', 'nvram', 'user-data', 'user-data-raw', 'meta-data', 'network-config', 'secret'],
    }),
    count: Flags.integer({
      char: 'N',
      description: `number of members, ${formatRange(limits.members)}; required for a new fleet`,
      ...limits.members,
    }),
    ...fileFlag,
    ...specFlags,
    format: Flags.option({
      description: 'format of the base image file [default: auto-detected]',
      options: ['qcow2', 'raw'] as const,
    })(),
    nvram: Flags.string({ description: 'NVRAM file of the golden image; each UEFI member starts with a copy', helpValue: 'FILE' }),
    'trust-chain': Flags.boolean({ description: 'accept an image that has a backing file, and flatten it' }),
    start: Flags.boolean({ description: 'start the members [default: yes]', default: true, allowNo: true }),
    ...seedFlags,
    ...placementFlags,
    ...waitFlags(),
    ...concurrencyFlags,
    ...dryRunFlag,
    force: Flags.boolean({ description: 'continue even if a preflight check failed' }),
  };

  async run() {
    const { args, flags } = await this.parse(Spawn);
    // Report invalid flags before opening the host.
    specOf(flags);
    const wait = flags.wait === undefined ? undefined : parseWaitRequest(flags.wait);
    const secretWords = parseVariables(flags.secret, '--secret');
    const inputs = await inputsOf(this.files, args.fleet, flags.file);
    const run = async (engine: Engine, work: WorkOptions): Promise<object> => {
      const catalog = await ownCatalogOf(flags);
      const secrets = await readSecretValues(this.files, secretWords);
      const sshKeys = await readPublicKeys(this.files, flags['ssh-key']);
      const defaults = possible(engine, await spawnDefaults(this.files, (await readDefaults()).settings));
      const options = (input: Input): SpawnOptions => ({
        ...work,
        fleet: input.name,
        base: flags.base ?? input.base,
        pull: flags.base === undefined ? undefined : (flags.pull ?? false),
        catalog,
        fromDomain: flags['from-domain'] ?? input.fromDomain,
        image: flags.base === undefined && flags['from-domain'] === undefined ? input.image : undefined,
        fromRunning: flags['from-running'],
        keepFrozen: flags['keep-frozen'],
        shareTpm: flags['share-tpm'],
        bootOnce: flags['boot-once'],
        placement: placementOf(flags, input.placement),
        count: flags.count ?? input.count,
        format: flags.format ?? input.format,
        trustChain: flags['trust-chain'] || input.trustChain,
        template: flags.template ?? input.template,
        defaults,
        spec: { ...specOf(flags, input), sshKeys: sshKeys ?? input.sshKeys },
        seedFiles: {
          userData: flags['user-data'] ?? (flags['user-data-raw'] === undefined ? input.userData : undefined),
          userDataRaw: flags['user-data-raw'] ?? (flags['user-data'] === undefined ? input.userDataRaw : undefined),
          metaData: flags['meta-data'] ?? input.metaData,
          networkConfig: flags['network-config'] ?? input.networkConfig,
        },
        nvram: flags.nvram ?? input.nvram,
        secrets: secrets ?? input.secrets,
        concurrency: flags.concurrency ?? input.concurrency,
        bootConcurrency: flags['boot-concurrency'] ?? input.bootConcurrency,
        start: flags.start,
        wait,
        timeoutMs: flags.timeout,
        dryRun: flags['dry-run'],
        force: flags.force,
      });
      const byName = new Map(inputs.map((input) => [input.name, input]));
      return this.eachFleet(
        [...byName.keys()].map((fleet) => ({ fleet, members: [] })),
        ({ fleet }, share) => engine.spawn(share(options(byName.get(fleet) ?? { name: fleet }))),
        renderOutcome,
        exitCodeOfOutcome,
      );
    };
    return this.onEngine(flags, run, { fleets: inputs });
  }
}

type Input = Partial<FleetInput> & { name: string };

/** The requested fleets: all of a file, or the named one. */
async function inputsOf(files: Pick<Ports, 'readFile'>, fleet: string | undefined, file: string | undefined): Promise<Input[]> {
  if (file === undefined) {
    if (fleet !== undefined) return [{ name: fleet }];
    throw new CowherdError('BAD_USAGE', 'No fleet given', {
      hint: 'Give a name: cowherd spawn lab --base golden.qcow2 --count 10, or a fleet file: --file lab.yaml',
    });
  }
  const inFile = await readFleetFile(files, file);
  if (fleet === undefined) return inFile;
  const chosen = inFile.find((input) => input.name === fleet);
  if (chosen !== undefined) return [chosen];
  throw new CowherdError('BAD_USAGE', `${file} has no fleet ${fleet}`, {
    hint: `Use one of its fleets: ${inFile.map((input) => input.name).join(', ')}.`,
  });
}

/** Defaults from configuration files apply to several engines. Those that this one cannot use are omitted. */
function possible({ about }: Engine, defaults: NonNullable<SpawnOptions['defaults']>): NonNullable<SpawnOptions['defaults']> {
  const isPossible = ([name, value]: [string, unknown]): boolean =>
    optionWords(name, value).every((words) => lackOf(about, 'spawn', words) === undefined);
  return Object.fromEntries(Object.entries(defaults).filter(isPossible));
}
