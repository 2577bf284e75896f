import { Args, Flags } from '@oclif/core';
import { assertWhole, type Target } from '../../core/fleet/selection/targets.js';
import type { Host } from '../../host.js';
import type { Engine } from '../../services/engine/engine.js';
import type { WrittenPage } from '../../services/fleet/status/page.js';
import { reportAll, reportOne, type StoreReport } from '../../services/fleet/status/report.js';
import { findTargets } from '../../services/fleet/targets.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { estimateCsv, renderEstimate } from '../render/estimate.js';
import { renderDisk, renderReport, renderStoreReport, reportCsv } from '../render/report.js';
import { bytes, plural } from '../terminal/format.js';

export default class Report extends BaseCommand {
  static override summary = 'Show how much disk space a fleet saves and how far each member has drifted.';
  static override description = [
    'All sizes are bytes on disk.',
    'Savings are relative to one sparse full copy of the base image per member; the base image itself counts as used by cowherd.',
    'Drift is the growth of an overlay since it was fresh.\n\nA cloud does not report how much its overlays use: there, all figures are estimates, without drift.',
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
    const words = argv as string[];
    const isWhole = words.length === 0 && flags.file === undefined;
    const { html } = flags;
    if (html === undefined) {
      const show = async (engine: Engine): Promise<object> =>
        this.show(engine, isWhole ? undefined : namesOf(await engine.findTargets(words, flags.file)), flags.csv);
      return this.onEngine(flags, show, { isReader: true });
    }
    const write = async (host: Host): Promise<object> => {
      const named = isWhole ? undefined : namesOf(await findTargets(host, words, flags.file));
      const [only, ...others] = named ?? [];
      const result = only !== undefined && others.length === 0 ? await reportOne(host, only) : await reportAll(host, named);
      if (result.failed.length > 0) this.exitWith(4);
      return { ...documentOf(result, named), html: await this.write(host, result, html, isWhole) };
    };
    return this.onHost(flags, write, { isReader: true });
  }

  private async show(engine: Engine, named: readonly string[] | undefined, isCsv: boolean): Promise<object> {
    const result = await engine.report(named, { single: named?.length === 1 });
    if (result.failed.length > 0) this.exitWith(4);
    if ('estimated' in result) {
      this.log(isCsv ? estimateCsv(result) : renderEstimate(result));
      return result;
    }
    const [first] = result.fleets;
    if (isCsv) this.log(reportCsv(result.fleets));
    else if (named?.length !== 1 || first === undefined) this.log(renderStoreReport(result));
    else this.log(`${renderReport(first)}\n${renderDisk(result.disk)}`);
    return documentOf(result, named);
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

/** @throws BAD_USAGE */
function namesOf(targets: readonly Target[]): string[] {
  assertWhole('report', targets);
  return targets.map(({ fleet }) => fleet);
}

/** The report of a single named fleet, or the whole one. */
function documentOf(result: StoreReport, named: readonly string[] | undefined): object {
  const [first] = result.fleets;
  return named?.length === 1 && first !== undefined ? { ...first, disk: result.disk } : result;
}
