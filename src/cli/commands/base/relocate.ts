import { Args, Flags } from '@oclif/core';
import { limits } from '../../../core/limits.js';
import { exitCodeOfRelocation, relocate } from '../../../services/base/relocate.js';
import { BaseCommand } from '../../base-command.js';
import { renderRelocation } from '../../render/bases.js';

export default class BaseRelocate extends BaseCommand {
  static override summary = 'Mend a store that was moved or copied: overlays and domains that name the old place.';
  static override description =
    `Overlays name their base image, and domains their overlays, by an absolute path. After the store was moved, this makes those of
members that are off name the new place; no data of a guest is touched. Base images that are other files now (a copy has another inode)
are read whole and sealed again if their content is what was imported; if one is not, nothing is changed. Members that run are failures.`;
  static override examples = [
    { description: 'After moving the store', command: '<%= config.bin %> <%= command.id %> --store /new/place' },
    { description: 'One fleet', command: '<%= config.bin %> <%= command.id %> lab' },
  ];
  static override args = { fleet: Args.string({ description: 'name of the fleet [default: all of the store]' }) };
  static override flags = {
    concurrency: Flags.integer({ description: 'members worked on at the same time [default: 8]', ...limits.concurrency }),
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
