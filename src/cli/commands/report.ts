import { Args, Flags } from '@oclif/core';
import { assertWhole } from '../../core/fleet/targets.js';
import { report, reportAll, reportDisk } from '../../services/fleet/report.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { renderDisk, renderReport, renderStoreReport, reportCsv } from '../render/report.js';

export default class Report extends BaseCommand {
  static override summary = 'How much disk a fleet saves, and how far each member has drifted.';
  static override description =
    `All sizes are bytes on disk. Savings are against one sparse full copy of the base per member, with the base itself on
cowherd's side of the account. Drift is what an overlay has grown beyond a fresh one.`;
  static override examples = [
    { description: 'One fleet', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'All fleets; a base that they share is counted once', command: '<%= config.bin %> <%= command.id %>' },
    { description: 'For a spreadsheet', command: '<%= config.bin %> <%= command.id %> lab --csv' },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of the fleet, or several [default: all]' }) };
  static override flags = { ...fileFlag, csv: Flags.boolean({ description: 'a line per member, as CSV', exclusive: ['json'] }) };

  async run() {
    const { argv, flags } = await this.parse(Report);
    return this.onHost(
      flags,
      async (host) => {
        const named = argv.length === 0 && flags.file === undefined ? undefined : await this.targets(host, argv as string[], flags.file);
        assertWhole('report', named ?? []);
        if (named?.length === 1) {
          const result = await report(host, named[0]?.fleet ?? '');
          const disk = await reportDisk(host);
          this.log(flags.csv ? reportCsv([result]) : `${renderReport(result)}\n${renderDisk(disk)}`);
          return { ...result, disk };
        }
        const result = await reportAll(
          host,
          named?.map(({ fleet }) => fleet),
        );
        this.log(flags.csv ? reportCsv(result.fleets) : renderStoreReport(result));
        if (result.failed.length > 0) this.exitWith(4);
        return result;
      },
      { isReader: true },
    );
  }
}
