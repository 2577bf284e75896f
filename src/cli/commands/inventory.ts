import { Args, Flags } from '@oclif/core';
import { formatInventories, formatInventory, inventoryFormats } from '../../core/fleet/inventory.js';
import { inventory } from '../../services/guest/inventory.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';

export default class Inventory extends BaseCommand {
  static override summary = 'Print where the members are, in the words of other tools.';
  static override examples = [
    { description: 'For Ansible', command: '<%= config.bin %> <%= command.id %> lab --format ansible > hosts.yaml' },
    {
      description: 'For ssh and all that goes by it',
      command: '<%= config.bin %> <%= command.id %> lab --format ssh-config >> ~/.ssh/config',
    },
    { description: 'Of two fleets, as one', command: '<%= config.bin %> <%= command.id %> web db --format ansible > hosts.yaml' },
    { description: 'For a shell', command: 'eval "$(<%= config.bin %> <%= command.id %> lab --format env)"; curl http://$LAB_001_HOST' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    format: Flags.option({ description: 'whose words', options: inventoryFormats, default: 'json' })(),
  };

  async run() {
    const { argv, flags } = await this.parse(Inventory);
    return this.onHost(
      flags,
      async (host) => {
        const targets = await this.targets(host, argv as string[], flags.file);
        // All of them at once: the wait for agents that do not answer is one for all.
        const found = await Promise.all(targets.map(({ fleet, members }) => inventory(host, fleet, members)));
        const [only, ...others] = found;
        const isSingle = only !== undefined && others.length === 0;
        this.log(isSingle ? formatInventory(only, flags.format) : formatInventories(found, flags.format));
        const members = found.flatMap((one) => one.members);
        const lost = members.filter((member) => member.host === null).length;
        if (lost > 0 && flags.format !== 'json') {
          this.logToStderr(`note: ${lost} of ${members.length} members have no address that is known, and are left out`);
        }
        return isSingle ? only : { fleets: found };
      },
      { isReader: true },
    );
  }
}
