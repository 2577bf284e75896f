import { domainRef } from '../../core/domain/domain-ref.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { type DomainState, isOn } from '../../core/fleet/observation.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import type { ProgressListener } from '../../core/progress.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { removeBase } from '../base/bases.js';
import { prepareFreeze, refreshGuest, retryUntilAnswered } from '../guest/reidentify.js';
import { withSnapshotLock } from '../snapshot/access.js';
import { assertUnused } from './preflight.js';

/** The source VM of clones, while it is frozen and after. */

/** Time limit for setting the clock by its agent. */
const clockMs = 30_000;
/** Time limit for its preparation by its agent. */
const prepareMs = 10_000;

/** @param word name or UUID @throws DOMAIN_NOT_FOUND */
export async function findSource(ports: Pick<Ports, 'hypervisor'>, word: string): Promise<DomainState> {
  const domains = await ports.hypervisor.listDomains();
  const found = domains.find(({ name }) => name === word) ?? domains.find(({ uuid }) => uuid === word.toLowerCase());
  if (found !== undefined) return found;
  throw new CowherdError('DOMAIN_NOT_FOUND', `Domain ${word} not found at ${ports.hypervisor.uri}`, {
    hint: 'List the running domains: virsh list',
  });
}

export async function isSaved(ports: Pick<Ports, 'hypervisor'>, { name }: DomainState): Promise<boolean> {
  return (await ports.hypervisor.listSaved()).has(name);
}

/** Stops in the source VM what would only cost time in its clones. Without that, they are the same. */
export async function prepareSource(ports: Ports, domain: DomainState, signal: AbortSignal | undefined): Promise<void> {
  await prepareFreeze(ports, domainRef(domain), { timeoutMs: prepareMs, signal }).catch(() => undefined);
}

/**
 * Resumes the source VM from its managed save, sets its clock, and continues what was stopped before the freeze. If it was shut off
 * meanwhile, it stays off.
 */
export async function resumeSource(ports: Ports, domain: DomainState, onProgress?: ProgressListener): Promise<void> {
  const now = (await ports.hypervisor.listDomains()).find(({ uuid }) => uuid === domain.uuid);
  if (now === undefined || isOn(now) || !(await isSaved(ports, now))) return;
  const ref = domainRef(now);
  await ports.hypervisor.start(ref, await ports.disks.allocatedBytes(ports.memory.managedSave(now.name)));
  const deadline = ports.clock.monotonic() + clockMs;
  const fix = { clock: true, entropy: false, renew: false, thawed: true };
  await retryUntilAnswered(ports.clock, deadline, () => refreshGuest(ports, ref, fix, { timeoutMs: clockMs })).catch((error: unknown) =>
    onProgress?.({ kind: 'note', text: `The clock of ${now.name} is behind by the time it was frozen: ${reportOf(error).message}` }),
  );
}

/** Removes the memory of a base image and its record. */
export function dropMemory(ports: Pick<Ports, 'bases' | 'memory'>, { name, digest }: BaseImage): Promise<void> {
  return ports.bases.locked(async () => {
    const image = await ports.bases.get({ name, digest });
    if (image !== undefined) await ports.memory.drop(image);
  });
}

/** Undoes a freeze without a fleet: resumes the source VM and removes what was copied from it. @returns notes for the user */
export async function abandonFreeze(ports: Ports, fleet: string, begun: Freeze): Promise<string[]> {
  const { domain, uuid, taken } = begun;
  const source = await findSource(ports, uuid).catch((error: unknown) => {
    if (reportOf(error).code !== 'DOMAIN_NOT_FOUND') throw error;
  });
  const notes: string[] = [];
  if (source !== undefined) {
    await withSnapshotLock(ports, uuid, () => resumeSource(ports, source), domain);
    if (isOn(await findSource(ports, uuid))) notes.push(`${domain} was resumed`);
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
