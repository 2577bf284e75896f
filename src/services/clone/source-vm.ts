import { CowherdError, reportOf } from '../../core/errors.js';
import { type DomainState, isOn } from '../../core/fleet/observation.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import type { ProgressListener } from '../../core/progress.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { removeBase } from '../base/bases.js';
import { reidentifyGuest, untilHeard } from '../guest/reidentify.js';
import { handleOf, withSnapshotLock } from '../snapshot/access.js';
import { assertUnused } from './preflight.js';

/** The VM that clones are made of, while it is frozen and after. */

/** How long its agent may take for the clock. */
const clockMs = 30_000;

/** @param word name or UUID @throws DOMAIN_NOT_FOUND */
export async function findGolden(ports: Pick<Ports, 'hypervisor'>, word: string): Promise<DomainState> {
  const domains = await ports.hypervisor.listDomains();
  const found = domains.find(({ name }) => name === word) ?? domains.find(({ uuid }) => uuid === word.toLowerCase());
  if (found !== undefined) return found;
  throw new CowherdError('DOMAIN_NOT_FOUND', `There is no domain ${word} at ${ports.hypervisor.uri}`, {
    hint: `See which there are: virsh -c ${ports.hypervisor.uri} list`,
  });
}

export async function isSaved(ports: Pick<Ports, 'hypervisor'>, { name }: DomainState): Promise<boolean> {
  return (await ports.hypervisor.listSaved()).has(name);
}

/**
 * Lets it go on from the memory that libvirt keeps of it, with the time put right. One that somebody switched off stays off.
 */
export async function goOn(ports: Ports, domain: DomainState, onProgress?: ProgressListener): Promise<void> {
  const now = (await ports.hypervisor.listDomains()).find(({ uuid }) => uuid === domain.uuid);
  if (now === undefined || isOn(now) || !(await isSaved(ports, now))) return;
  const handle = handleOf(now);
  await ports.hypervisor.start(handle, await ports.disks.allocatedBytes(ports.memory.managedSave(now.name)));
  const deadline = ports.clock.monotonic() + clockMs;
  const fix = { clock: true, entropy: false, renew: false };
  await untilHeard(ports.clock, deadline, () => reidentifyGuest(ports, handle, fix, { timeoutMs: clockMs })).catch((error: unknown) =>
    onProgress?.({ kind: 'note', text: `the clock of ${now.name} is late by the time that it stood still: ${reportOf(error).message}` }),
  );
}

/** Takes the memory away that lies beside a base image, with what is recorded of it by now. */
export function dropMemory(ports: Pick<Ports, 'bases' | 'memory'>, { name, digest }: BaseImage): Promise<void> {
  return ports.bases.locked(async () => {
    const image = await ports.bases.get({ name, digest });
    if (image !== undefined) await ports.memory.drop(image);
  });
}

/** Takes a freeze back of which no fleet has come: the golden VM goes on, and what was taken for it goes. @returns what was done, for people */
export async function abandonFreeze(ports: Ports, fleet: string, begun: Freeze): Promise<string[]> {
  const { domain, uuid, taken } = begun;
  const golden = await findGolden(ports, uuid).catch((error: unknown) => {
    if (reportOf(error).code !== 'DOMAIN_NOT_FOUND') throw error;
  });
  const notes: string[] = [];
  if (golden !== undefined) {
    await withSnapshotLock(ports, uuid, () => goOn(ports, golden), domain);
    if (isOn(await findGolden(ports, uuid))) notes.push(`${domain} goes on`);
  }
  if (taken !== undefined) {
    try {
      const image = await ports.bases.get(taken.base);
      if (image !== undefined) await assertUnused(ports, image, fleet);
      if (image !== undefined) await dropMemory(ports, image);
      for (const ref of taken.imported) {
        await removeBase(ports, `${ref.name}@${ref.digest}`, fleet);
        notes.push(`base ${formatBaseRef(ref)} removed`);
      }
    } catch (error) {
      notes.push(`base kept: ${reportOf(error).message}`);
    }
  }
  await ports.memory.endFreeze(fleet);
  return notes;
}
