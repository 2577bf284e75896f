import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { CowherdError } from '../core/errors.js';
import { formatInventory, inventoryFormats } from '../core/inventory.js';
import { inventory } from '../services/inventory.js';

export default class Inventory extends BaseCommand {
  static override summary = 'Print where the members are, in the words of other tools.';
  static override examples = [
    { description: 'For Ansible', command: '<%= config.bin %> <%= command.id %> lab --format ansible > hosts.yaml' },
    {
      description: 'For ssh and all that goes by it',
      command: '<%= config.bin %> <%= command.id %> lab --format ssh-config >> ~/.ssh/config',
    },
    { description: 'For a shell', command: 'eval "$(<%= config.bin %> <%= command.id %> lab --format env)"; curl http://$LAB_001_HOST' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    format: Flags.option({ description: 'whose words', options: inventoryFormats, default: 'json' })(),
  };

  async run() {
    const { argv, flags } = await this.parse(Inventory);
    return this.onHost(
      flags,
      async (host) => {
        const { fleets, members } = await this.targets(host, argv as string[], undefined);
        const [fleet = ''] = fleets;
        if (fleets.length > 1)
          throw new CowherdError('BAD_USAGE', 'inventory is about one fleet at a time', { hint: `Try: cowherd inventory ${fleet}` });
        const found = await inventory(host, fleet, members);
        this.log(formatInventory(found, flags.format));
        const lost = found.members.filter((member) => member.host === null).length;
        if (lost > 0 && flags.format !== 'json') {
          this.logToStderr(`note: ${lost} of ${found.members.length} members have no address that is known, and are left out`);
        }
        return found;
      },
      { isReader: true },
    );
  }
}
