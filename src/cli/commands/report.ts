import { Args, Flags } from '@oclif/core';
import { assertWhole } from '../../core/fleet/selection/targets.js';
import { report, reportAll, reportDisk } from '../../services/fleet/status/report.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { renderDisk, renderReport, renderStoreReport, reportCsv } from '../render/report.js';

export default class Report extends BaseCommand {
  static override summary = 'Show how much disk space a fleet saves and how far each member has drifted.';
  static override description = [
    'All sizes are bytes on disk.',
    'Savings are relative to one sparse full copy of the base image per member; the base image itself counts as used by cowherd.',
    'Drift is the growth of an overlay since it was fresh.',
  ].join(' ');
  static override examples = [
    { description: 'One fleet', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'All fleets; a shared base image is counted once', command: '<%= config.bin %> <%= command.id %>' },
    { description: 'As CSV', command: '<%= config.bin %> <%= command.id %> lab --csv' },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of one or more fleets [default: all]' }) };
  static override flags = { ...fileFlag, csv: Flags.boolean({ description: 'print CSV with one line per member', exclusive: ['json'] }) };

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
