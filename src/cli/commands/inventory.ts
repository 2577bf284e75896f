import { Args, Flags } from '@oclif/core';
import { formatInventories, formatInventory, inventoryFormats } from '../../core/fleet/inventory.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';

export default class Inventory extends BaseCommand {
  static override summary = 'Print the addresses of members in a format for other tools.';
  static override examples = [
    { description: 'For Ansible', command: '<%= config.bin %> <%= command.id %> lab --format ansible > hosts.yaml' },
    {
      description: 'For ssh and tools that use it',
      command: '<%= config.bin %> <%= command.id %> lab --format ssh-config >> ~/.ssh/config',
    },
    { description: 'Two fleets in one inventory', command: '<%= config.bin %> <%= command.id %> web db --format ansible > hosts.yaml' },
    { description: 'For a shell', command: 'eval "$(<%= config.bin %> <%= command.id %> lab --format env)"; curl http://$LAB_001_HOST' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    format: Flags.option({ description: 'output format', options: inventoryFormats, default: 'json' })(),
  };

  async run() {
    const { argv, flags } = await this.parse(Inventory);
    return this.onEngine(
      flags,
      async (engine) => {
        const targets = await engine.findTargets(argv as string[], flags.file);
        // In parallel, so that agents that do not answer delay the result only once.
        const found = await Promise.all(targets.map(({ fleet, members }) => engine.inventory(fleet, members)));
        const [only, ...others] = found;
        const isSingle = only !== undefined && others.length === 0;
        this.log(isSingle ? formatInventory(only, flags.format) : formatInventories(found, flags.format));
        const members = found.flatMap((one) => one.members);
        const lost = members.filter((member) => member.host === null).length;
        if (lost > 0 && flags.format !== 'json') {
          this.logToStderr(`note: ${lost} of ${members.length} members have no known address and are skipped`);
        }
        return isSingle ? only : { fleets: found };
      },
      { isReader: true },
    );
  }
}
