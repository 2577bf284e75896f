import { Args, Flags } from '@oclif/core';
import { promote } from '../../services/base/promote.js';
import { BaseCommand } from '../base-command.js';
import { timeoutFlag } from '../flags/run.js';
import { renderPromotion } from '../render/bases.js';
import { page } from '../terminal/layout.js';

export default class Promote extends BaseCommand {
  static override summary = "Make a new base image of a member's disk.";
  static override description =
    `The member's overlay and its base image become one file in the store; both stay as they are, and so does the fleet. The
member must be off. With --layered only what differs from the base image is kept, and the new one stands on it (4 layers at most).`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003 --as golden2',
    { description: 'A member that runs', command: '<%= config.bin %> <%= command.id %> lab-003 --as golden2 --stop' },
    { description: 'Small and quick, on top of the old one', command: '<%= config.bin %> <%= command.id %> lab 3 --as golden2 --layered' },
  ];
  static override strict = false;
  static override args = { member: Args.string({ description: 'name of the member, or fleet and number', required: true }) };
  static override flags = {
    as: Flags.string({ description: 'name of the new base image', required: true, helpValue: 'NAME' }),
    layered: Flags.boolean({ description: 'keep only what differs from the base image, and stand on it' }),
    stop: Flags.boolean({ description: 'shut the member down first, and start it again at the end' }),
    ...timeoutFlag('with --stop: how long its guest may take to shut down [default: 1m]'),
  };

  async run() {
    const { argv, flags } = await this.parse(Promote);
    return this.onHost(flags, async (host, work) => {
      const { as, layered, stop, timeout: timeoutMs } = flags;
      const result = await promote(host, { ...work, member: argv as string[], as, layered, stop, timeoutMs });
      this.log(renderPromotion(result));
      for (const note of result.notes) this.logToStderr(page(`note: ${note}`, process.stderr));
      return result;
    });
  }
}
