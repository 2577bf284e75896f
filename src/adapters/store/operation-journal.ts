import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { type EndedRun, type HistoryEntry, historyEntry, parseHistory } from '../../core/fleet/history.js';
import {
  failureLine,
  type Operation,
  operationLogLine,
  operationSchema,
  parseFailures,
  parseOperationLog,
  type Unfinished,
} from '../../core/fleet/operation.js';
import { assertRecordOf, parseState } from '../../core/fleet/record.js';
import { placeText, writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { allocatedBytes, listDirectory, storeError } from './files/files.js';
import { appendOwn, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { removeStaged } from './fleet-removal.js';
import { fleetLayout } from './layout.js';

/** When it is longer, the older half is removed. */
const mostHistoryBytes = 256 * 1024;

/** The intent of a run that changes a fleet, and which members are done. */
export class OperationJournal {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async begin(fleet: string, operation: Operation): Promise<void> {
    const { directory, operation: path, operationLog } = fleetLayout(this.#root, fleet);
    try {
      await makeDirectory(directory);
      await new SafeUnlinker(directory).unlink(operationLog);
      await writeJson(path, { ...operation, fleet });
    } catch (cause) {
      throw storeError(`write ${path}`, cause);
    }
  }

  async markDone(fleet: string, index: number): Promise<void> {
    const { operationLog } = fleetLayout(this.#root, fleet);
    await appendOwn(operationLog, operationLogLine(index)).catch((cause: unknown) => {
      throw storeError(`write ${operationLog}`, cause);
    });
  }

  async markFailed(fleet: string, index: number, code: string): Promise<void> {
    const { operationLog } = fleetLayout(this.#root, fleet);
    await appendOwn(operationLog, failureLine(index, code)).catch((cause: unknown) => {
      throw storeError(`write ${operationLog}`, cause);
    });
  }

  async end(fleet: string): Promise<void> {
    const layout = fleetLayout(this.#root, fleet);
    const { directory, operation, operationLog } = layout;
    // Before they are removed. It is for display: an error must not leave the operation unfinished.
    await this.#rememberOperation(fleet).catch(() => undefined);
    // Staged files of members that failed before they were moved into place.
    await removeStaged(layout);
    const unlinker = new SafeUnlinker(directory);
    // The log goes last: a log without an operation is ignored, but an operation without its log would be repeated.
    await unlinker.unlink(operation);
    await unlinker.unlink(operationLog);
  }

  async history(fleet: string): Promise<HistoryEntry[]> {
    return parseHistory((await readIfThere(fleetLayout(this.#root, fleet).history)) ?? '');
  }

  /** Adds a command that has changed members to the fleet's history. */
  async remember(fleet: string, run: EndedRun): Promise<void> {
    if (run.done.size + run.failed.size === 0) return;
    const { history, overlays } = fleetLayout(this.#root, fleet);
    const names = await listDirectory(overlays);
    const sizes = await Promise.all(names.map((name) => lstat(join(overlays, name)).then(allocatedBytes, () => 0)));
    const diskBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
    await appendOwn(history, `${JSON.stringify(historyEntry(run, { now: new Date().toISOString(), diskBytes }))}\n`);
    const text = (await readIfThere(history)) ?? '';
    if (text.length > mostHistoryBytes) await placeText(history, text.slice(text.indexOf('\n', text.length / 2) + 1), 0o644);
  }

  async #rememberOperation(fleet: string): Promise<void> {
    const ended = await this.unfinished(fleet);
    if (ended === undefined) return;
    const { id, verb, startedAt } = ended.operation;
    await this.remember(fleet, { id, verb, startedAt, done: ended.done, failed: ended.failed ?? new Map() });
  }

  async unfinished(fleet: string): Promise<Unfinished | undefined> {
    const { operation: path, operationLog } = fleetLayout(this.#root, fleet);
    const text = await readIfThere(path);
    if (text === undefined) return undefined;
    const hint = `Check ${path}; if you do not need it, remove the file and run the command again.`;
    const { fleet: owner, ...operation } = parseState(operationSchema, fleet, 'operation.json', text, hint);
    if (owner !== undefined && owner !== fleet) {
      throw new CowherdError('STATE_DAMAGED', `operation.json of ${fleet} belongs to another fleet, ${owner}`, { hint });
    }
    if (operation.record !== undefined) assertRecordOf(fleet, operation.record, 'operation.json', hint);
    const log = (await readIfThere(operationLog)) ?? '';
    return { operation, done: parseOperationLog(log), failed: parseFailures(log) };
  }
}
