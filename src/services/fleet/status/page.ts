import { resolve } from 'node:path';
import { reportOf } from '../../../core/errors.js';
import type { HistoryEntry } from '../../../core/fleet/history.js';
import { formatBaseRef } from '../../../core/image/base.js';
import type { HistoryNode } from '../../../core/image/base-history.js';
import type { Ports } from '../../../ports/index.js';
import { type BaseListing, listBases } from '../../base/bases.js';
import { history as baseHistory } from '../../base/history.js';
import type { StoreReport } from './report.js';
import { type FleetStatus, status } from './status.js';

/** Everything that the page of "report --html" shows. */
export interface ReportPage {
  host: string;
  uri: string;
  store: string;
  /** ISO date. */
  time: string;
  report: StoreReport;
  statuses: FleetStatus[];
  /** Base images of the fleets, and what they were promoted from, as trees. */
  lineage: HistoryNode[];
  /** By NAME@DIGEST. */
  bases: Map<string, BaseListing>;
  /** Fleets with their ended operations, the oldest first. */
  histories: Array<{ fleet: string; entries: HistoryEntry[] }>;
  /** What could not be read. */
  notes: string[];
}

/** Style and script of the page. */
export interface PageParts {
  style: string;
  script: string;
}

/**
 * Adds to a report what the page shows beside it. A fleet, libvirt or a base image that cannot be read is a note, and never hides the rest.
 * @param isWhole the report is of all fleets, so base images that no fleet uses are shown, too
 */
export async function reportPage(ports: Ports, report: StoreReport, isWhole: boolean): Promise<ReportPage> {
  const fleets = [...report.fleets, ...report.failed].map(({ fleet }) => fleet);
  const notes = report.failed.map(({ fleet, error }) => `${fleet} is not included in the totals: ${error.message}`);
  const tolerant = async <T>(what: string, read: Promise<T>, otherwise: T): Promise<T> =>
    read.catch((error: unknown) => {
      notes.push(`${what}: ${reportOf(error).message}`);
      return otherwise;
    });
  const statuses: FleetStatus[] = [];
  const histories: ReportPage['histories'] = [];
  for (const fleet of fleets) {
    const seen = await tolerant(`The members of ${fleet} are not shown in full`, status(ports, fleet, { memory: true }), undefined);
    if (seen !== undefined) statuses.push(seen);
    const entries = await tolerant(`The history of ${fleet} is not shown`, ports.fleets.history(fleet), []);
    histories.push({ fleet, entries });
  }
  const { images } = await tolerant('Base images are not shown', baseHistory(ports), { images: [], damaged: [] });
  const listed = await tolerant('The users of base images are not shown', listBases(ports), { bases: [], damaged: [] });
  notes.push(...listed.damaged.map(({ path, reason }) => `${path}: ${reason}`));
  const bases = new Map(listed.bases.map((base) => [base.ref, base]));
  const isUsed = (node: HistoryNode): boolean =>
    bases.get(formatBaseRef(node))?.fleets.some((fleet) => fleets.includes(fleet)) === true || node.promotedTo.some(isUsed);
  return {
    host: ports.machine.hostName(),
    uri: ports.hypervisor.uri,
    store: ports.fleets.root,
    time: ports.clock.now().toISOString(),
    report,
    statuses,
    lineage: isWhole || bases.size === 0 ? images : images.filter(isUsed),
    bases,
    histories,
    notes,
  };
}

export async function pageParts(ports: Pick<Ports, 'builtInTemplate'>): Promise<PageParts> {
  return { style: await ports.builtInTemplate('report/style'), script: await ports.builtInTemplate('report/script') };
}

/** Every page begins with it: a file that begins otherwise is not replaced. */
export const pageBegin = '<!DOCTYPE html>\n<!-- cowherd report -->\n';

/** @throws BAD_USAGE if the file exists and is not an earlier page */
export async function writePage(ports: Pick<Ports, 'replaceOwnFile' | 'fleets'>, file: string, html: string): Promise<WrittenPage> {
  const path = resolve(file);
  await ports.replaceOwnFile(path, html, { begins: pageBegin, store: ports.fleets.root });
  return { file: path, bytes: Buffer.byteLength(html) };
}

export interface WrittenPage {
  file: string;
  bytes: number;
}
