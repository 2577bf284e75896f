import { Args, Flags } from '@oclif/core';
import { limits } from '../../../core/limits.js';
import { exitCodeOfRelocation, relocate } from '../../../services/base/relocate.js';
import { BaseCommand } from '../../base-command.js';
import { renderRelocation } from '../../render/bases.js';

export default class BaseRelocate extends BaseCommand {
  static override summary = 'Repair a store that was moved or copied: update the paths in overlays and domains.';
  static override description = [
    'Overlays contain the absolute path of their base image, and domains the absolute paths of their overlays.',
    'After a move of the store, this command updates the paths of stopped members; guest data is not touched.',
    'Base images that are now different files (a copy has another inode) are read completely, and sealed again if their content is unchanged. If the content of one differs, nothing is changed.',
    'Running members are reported as failures.',
  ].join(' ');
  static override examples = [
    { description: 'After moving the store', command: '<%= config.bin %> <%= command.id %> --store /new/place' },
    { description: 'One fleet', command: '<%= config.bin %> <%= command.id %> lab' },
  ];
  static override args = { fleet: Args.string({ description: 'name of the fleet [default: all fleets in the store]' }) };
  static override flags = {
    concurrency: Flags.integer({ description: 'number of members to process at the same time [default: 8]', ...limits.concurrency }),
  };

  async run() {
    const { args, flags } = await this.parse(BaseRelocate);
    return this.onHost(flags, async (host, work) => {
      const result = await relocate(host, { ...work, fleet: args.fleet });
      this.log(renderRelocation(result));
      this.exitWith(exitCodeOfRelocation(result));
      return result;
    });
  }
}
