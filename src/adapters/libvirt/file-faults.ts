import { dirname } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { reachHint } from '../../core/host/reachability.js';
import { OpenElsewhere } from '../../core/image/open-elsewhere.js';
import { processesWith } from '../host/open-files.js';
import { findObstacles } from '../host/reachability.js';

type QemuUser = () => Promise<{ uid: number; gid: number } | undefined>;

/**
 * QEMU names the file that it could not open. This finds the process that has it open, or the directory that denies access.
 * @param output the whole output of virsh
 * @returns the same error if nothing more is found
 */
export async function withFileFault(error: CowherdError, doing: string, output: string, qemuUser: QemuUser): Promise<CowherdError> {
  const locked = /Failed to get [^\n]*lock[\s\S]*?\[(\/[^\]\n]+)\]/.exec(output)?.[1];
  if (locked !== undefined) {
    const { message, hint } = new OpenElsewhere(locked, await processesWith(locked));
    return restated(error, `libvirt could not ${doing}: ${message}`, hint);
  }
  const denied = /(?:storage file|[Cc]ould not open|open file) '(\/[^'\n]+)'[^\n]*: Permission denied/.exec(output)?.[1];
  const user = denied === undefined ? undefined : await qemuUser().catch(() => undefined);
  if (denied === undefined || user === undefined) return error;
  const store = /^(.*)\/(?:bases|fleets|snapshots)\/[^/]+\//.exec(denied)?.[1] ?? dirname(denied);
  // libvirt makes QEMU the owner of a disk at each start, but not of a base image.
  const needs = denied.startsWith(`${store}/bases/`) ? 'read' : 'pass';
  const obstacles = await findObstacles(user, [{ path: denied, needs }]);
  const [first] = obstacles;
  if (first === undefined) return error;
  const hint = reachHint(obstacles, { isRoot: process.getuid?.() === 0, storeRoot: store });
  return restated(error, `libvirt could not ${doing}: Permission denied for ${denied}: ${first.path}: ${first.reason}`, hint);
}

function restated(error: CowherdError, message: string, hint: string | undefined): CowherdError {
  return new CowherdError(error.code, message, {
    details: [error.message, ...error.details],
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}
