import { CowherdError, reportOf } from '../../../core/errors.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { BaseImage } from '../../../core/image/base.js';
import type { Ports } from '../../../ports/index.js';
import { knownRecord } from '../../fleet/access.js';
import { isBegun } from '../../fleet/spawn/spawn.js';
import { teardown } from '../../fleet/teardown/teardown.js';
import { imagesOf } from './recipe.js';

/** The VM of an earlier preparation, and the end of this one. The fleet is locked. */

/**
 * Removes what a run that was killed has left: half of a script cannot be continued.
 * @returns the image, if that run had completed it
 * @throws BAD_USAGE if the fleet is something else, or was kept by the user
 */
export async function clearLeftover(ports: Ports, fleet: string, image: string, recipe: string): Promise<BaseImage | undefined> {
  await assertFree(ports, fleet, image);
  const left = await knownRecord(ports, fleet);
  if (left === undefined) return undefined;
  const complete = await completedFrom(ports, left, image, recipe);
  await removeMachine(ports, fleet);
  return complete;
}

/** @throws BAD_USAGE if the name of the VM is taken */
export async function assertFree(ports: Ports, fleet: string, image: string): Promise<void> {
  const record = await knownRecord(ports, fleet);
  if (record === undefined) return;
  const remove = `cowherd teardown ${fleet} --yes`;
  if (record.prepares?.image !== image) {
    throw new CowherdError('BAD_USAGE', `Fleet ${fleet} exists, and the VM that becomes base image ${image} would have its name`, {
      hint: `Choose another name for the image, or remove that fleet if you do not need it: ${remove}`,
    });
  }
  if (!record.prepares.kept) return;
  throw new CowherdError('BAD_USAGE', `The VM of an earlier preparation of ${image} was kept: ${record.members[0]?.name ?? fleet}`, {
    hint: `To start again, remove it first: ${remove}`,
  });
}

/** The image that was promoted from this very VM. */
async function completedFrom(ports: Ports, left: FleetRecord, image: string, recipe: string): Promise<BaseImage | undefined> {
  return (await imagesOf(ports, recipe)).find(
    ({ name, importedAt, promotedFrom }) => name === image && promotedFrom?.fleet === left.name && importedAt >= left.createdAt,
  );
}

/** Also after Ctrl-C, so without its signal. @throws the first error, with the command that removes the rest */
export async function removeMachine(ports: Ports, fleet: string): Promise<void> {
  const { members } = await teardown(ports, { fleet });
  const error = members.find((member) => member.error !== undefined)?.error;
  if (error === undefined) return;
  throw new CowherdError('NOT_STOPPED', `The VM that was prepared was not removed: ${error.message}`, {
    details: error.details ?? [],
    hint: `Remove it: cowherd teardown ${fleet} --yes`,
  });
}

/** After a failure: removes the VM, or keeps it. @returns the error, which says so */
export async function afterFailure(ports: Ports, fleet: string, error: unknown, keep: boolean): Promise<unknown> {
  const known = error instanceof CowherdError ? error : undefined;
  try {
    if (!(await isBegun(ports, fleet))) return error;
    const record = await ports.fleets.read(fleet);
    if (keep && known !== undefined && known.code !== 'INTERRUPTED' && record?.prepares !== undefined) {
      await ports.fleets.write({ ...record, prepares: { ...record.prepares, kept: true } });
      return withHint(known, keptHint(fleet, record.members[0]?.name ?? fleet), ['the VM is kept']);
    }
    await removeMachine(ports, fleet);
    return error;
  } catch (second) {
    if (known === undefined) return error;
    return withHint(known, `${known.hint ?? ''} Remove the VM: cowherd teardown ${fleet} --yes`.trim(), [reportOf(second).message]);
  }
}

function keptHint(fleet: string, name: string): string {
  return `Run commands in it: cowherd exec ${fleet} -- COMMAND, or log in: cowherd ssh ${name}, cowherd console ${name}. Then remove it: cowherd teardown ${fleet} --yes`;
}

function withHint({ code, message, details, cause }: CowherdError, hint: string, more: readonly string[]): CowherdError {
  return new CowherdError(code, message, { details: [...details, ...more], hint, cause });
}
