import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { timeoutFlag } from '../flags/run.js';
import { renderPromotion } from '../render/bases.js';
import { page } from '../terminal/layout.js';

export default class Promote extends BaseCommand {
  static override summary = "Create a base image from a member's disk.";
  static override description = [
    "The member's overlay and its base image are merged into one new file in the store; the fleet does not change.",
    'The member must be stopped.',
    'With --layered, the new image contains only the differences and is based on the old one (at most 4 layers).',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003 --as golden2',
    { description: 'A running member', command: '<%= config.bin %> <%= command.id %> lab-003 --as golden2 --stop' },
    { description: 'Small and fast, based on the old image', command: '<%= config.bin %> <%= command.id %> lab 3 --as golden2 --layered' },
  ];
  static override strict = false;
  static override args = {
    member: Args.string({ description: 'name of the member (lab-003), or fleet and number (lab 3)', required: true }),
  };
  static override flags = {
    as: Flags.string({ description: 'name of the new base image', required: true, helpValue: 'NAME' }),
    layered: Flags.boolean({ description: 'store only the differences from the current base image' }),
    stop: Flags.boolean({ description: 'shut the member down first and start it again afterwards' }),
    ...timeoutFlag('with --stop: how long to wait for the guest to shut down [default: 1m]'),
  };

  async run() {
    const { argv, flags } = await this.parse(Promote);
    return this.onEngine(flags, async (engine, work) => {
      const { as, layered, stop, timeout: timeoutMs } = flags;
      const result = await engine.promote({ ...work, member: argv as string[], as, layered, stop, timeoutMs });
      this.log(renderPromotion(result));
      for (const note of result.notes) this.logToStderr(page(`note: ${note}`, process.stderr));
      return result;
    });
  }
}
