import { CowherdError } from '../../core/errors.js';
import { type Operation, operationLogLine, operationSchema, parseOperationLog, type Unfinished } from '../../core/fleet/operation.js';
import { assertRecordOf, parseState } from '../../core/fleet/record.js';
import { writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { storeError } from './files/files.js';
import { appendOwn, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { removeStaged } from './fleet-removal.js';
import { fleetLayout } from './layout.js';

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

  async end(fleet: string): Promise<void> {
    const layout = fleetLayout(this.#root, fleet);
    const { directory, operation, operationLog } = layout;
    // Staged files of members that failed before they were moved into place.
    await removeStaged(layout);
    const unlinker = new SafeUnlinker(directory);
    // The log goes last: a log without an operation is ignored, but an operation without its log would be repeated.
    await unlinker.unlink(operation);
    await unlinker.unlink(operationLog);
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
    return { operation, done: parseOperationLog((await readIfThere(operationLog)) ?? '') };
  }
}
