import { Args, Flags } from '@oclif/core';
import { assertWhole } from '../../core/fleet/selection/targets.js';
import type { Host } from '../../host.js';
import type { WrittenPage } from '../../services/fleet/status/page.js';
import { reportAll, reportOne, type StoreReport } from '../../services/fleet/status/report.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { renderDisk, renderReport, renderStoreReport, reportCsv } from '../render/report.js';
import { bytes, plural } from '../terminal/format.js';

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
    {
      description: 'As a page for a browser, with the members, base images and history',
      command: '<%= config.bin %> <%= command.id %> --html report.html',
    },
    { description: 'As CSV', command: '<%= config.bin %> <%= command.id %> lab --csv' },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of one or more fleets [default: all]' }) };
  static override flags = {
    ...fileFlag,
    csv: Flags.boolean({ description: 'print CSV with one line per member', exclusive: ['json', 'html'] }),
    html: Flags.string({
      description: 'write a page for a browser instead, without links to other files; replaces an earlier report',
      helpValue: 'FILE',
    }),
  };

  async run() {
    const { argv, flags } = await this.parse(Report);
    return this.onHost(
      flags,
      async (host) => {
        const named = argv.length === 0 && flags.file === undefined ? undefined : await this.targets(host, argv as string[], flags.file);
        assertWhole('report', named ?? []);
        const only = named?.length === 1 ? named[0]?.fleet : undefined;
        const result =
          only === undefined
            ? await reportAll(
                host,
                named?.map(({ fleet }) => fleet),
              )
            : await reportOne(host, only);
        const [first] = result.fleets;
        const document = only === undefined || first === undefined ? result : { ...first, disk: result.disk };
        if (result.failed.length > 0) this.exitWith(4);
        if (flags.html !== undefined) return { ...document, html: await this.write(host, result, flags.html, named === undefined) };
        if (flags.csv) this.log(reportCsv(result.fleets));
        else if (only === undefined || first === undefined) this.log(renderStoreReport(result));
        else this.log(`${renderReport(first)}\n${renderDisk(result.disk)}`);
        return document;
      },
      { isReader: true },
    );
  }

  /** Only for a page, its modules are loaded. */
  private async write(host: Host, result: StoreReport, path: string, isWhole: boolean): Promise<WrittenPage> {
    const [{ pageParts, reportPage, writePage }, { renderReportPage }] = await Promise.all([
      import('../../services/fleet/status/page.js'),
      import('../render/html/page.js'),
    ]);
    const page = renderReportPage(await reportPage(host, result, isWhole), await pageParts(host));
    const written = await writePage(host, path, page);
    for (const { fleet, error } of result.failed) this.tell(`! ${fleet} is not included: ${error.message}`);
    this.tell(
      `${written.file}: written, ${plural(result.fleets.length, 'fleet')}, ${plural(result.total.members, 'member')}, ${bytes(written.bytes)}`,
    );
    return written;
  }
}
