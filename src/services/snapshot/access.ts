import { domainRef, virshWord } from '../../core/domain/domain-ref.js';
import { CowherdError } from '../../core/errors.js';
import { type DomainState, isOn } from '../../core/fleet/observation.js';
import { sealDifferences } from '../../core/image/base.js';
import type { ProgressListener } from '../../core/progress.js';
import { shellWord } from '../../core/quoting.js';
import { expectedDisks, levelName, type SnapshotJournal, type SnapshotLevel, type SnapshotVerb } from '../../core/snapshot/snapshot.js';
import { strayDisks } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';

/** Options of every verb that changes a domain. */
export interface SnapshotOptions {
  /** Name or UUID. */
  domain: string;
  /** Time limit for the guest's shutdown. */
  timeoutMs?: number | undefined;
  /** Force the guest off if it does not shut down in time. */
  force?: boolean | undefined;
  /** Start the domain again if it was running; the default. */
  start?: boolean | undefined;
  /** Show the changes to the XML without making them. */
  diffOnly?: boolean | undefined;
  /** Called after all checks and before the first change.
   * @param isLoss whether data is lost; otherwise a running domain would be shut down
   * @throws CANCELED if the answer is no, CONFIRMATION_NEEDED without a terminal
   */
  approve?: ((question: string, isLoss: boolean) => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

/** A domain with its snapshots, read under the lock. */
export interface SnapshotContext {
  domain: DomainState;
  /** Reference for libvirt: the name, or the UUID if virsh would misread the name. */
  ref: string;
  xml: string;
  levels: SnapshotLevel[];
  journal: SnapshotJournal | undefined;
}

/** Runs work on a domain while no other run of cowherd changes its snapshots. @throws DOMAIN_NOT_FOUND, LOCKED, STATE_DAMAGED */
export async function withSnapshots<T>(ports: Ports, word: string, work: (context: SnapshotContext) => Promise<T>): Promise<T> {
  const { uuid, name } = await findDomain(ports, word);
  return withSnapshotLock(
    ports,
    uuid,
    async () => {
      // Read again: the domain may have been removed or started during the wait for the lock.
      const domain = await findDomain(ports, uuid);
      const ref = domainRef(domain);
      const xml = await ports.domains.definition(ref);
      if (xml === undefined) throw await notFound(ports, word);
      const levels = (await ports.snapshots.read(uuid))?.levels ?? [];
      return work({ domain, ref, xml, levels, journal: await ports.snapshots.journal(uuid) });
    },
    name,
  );
}

/** Runs work while no other run of cowherd changes the snapshots of that domain. @throws LOCKED */
export async function withSnapshotLock<T>(ports: Pick<Ports, 'snapshots'>, uuid: string, work: () => Promise<T>, name = uuid): Promise<T> {
  const lock = await ports.snapshots.lock(uuid, name);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

async function findDomain(ports: Ports, word: string): Promise<DomainState> {
  const domains = await ports.hypervisor.listDomains();
  const found = domains.find(({ name }) => name === word) ?? domains.find(({ uuid }) => uuid === word.toLowerCase());
  if (found === undefined) throw await notFound(ports, word);
  return found;
}

async function notFound(ports: Ports, word: string): Promise<CowherdError> {
  const details: string[] = [];
  for (const uuid of await ports.snapshots.list()) {
    const record = await ports.snapshots.read(uuid).catch(() => undefined);
    if (record === undefined || (record.name !== word && uuid !== word)) continue;
    details.push(
      `${record.levels.length} of its snapshots are in ${ports.snapshots.directory(uuid)}; they require a domain with the UUID ${uuid}`,
    );
  }
  return new CowherdError('DOMAIN_NOT_FOUND', `Domain ${JSON.stringify(word)} not found`, {
    details,
    hint:
      details.length > 0
        ? 'Define the domain again with its old XML, or remove that directory if you do not need the snapshots.'
        : 'List the domains: virsh list --all',
  });
}

/** Problems that prevent all verbs on a domain, one line each. */
export async function obstacles(ports: Ports, { domain }: SnapshotContext, force: boolean): Promise<string[]> {
  const { transient, managedSave, snapshots, checkpoints } = await ports.domains.managedState();
  const problems: string[] = [];
  if (transient.has(domain.name)) problems.push('it is transient and has no definition to change (virsh define makes it persistent)');
  if (managedSave.has(domain.name))
    problems.push('it has a managed save that belongs to its current disks: start it, or run virsh managedsave-remove');
  if (snapshots.has(domain.name))
    problems.push(
      'it has snapshots of libvirt, which refer to its current disks: virsh snapshot-list shows them, snapshot-delete merges or removes them',
    );
  if (checkpoints.has(domain.name))
    problems.push('it has checkpoints of libvirt with bitmaps in its current disks: virsh checkpoint-delete');
  if (domain.state === 'paused' && !force)
    problems.push(`it is paused (${domain.reason}) and cannot shut down: run virsh resume, or use --force`);
  if (domain.state === 'other') problems.push(`its state is "${domain.reason}"`);
  return problems;
}

export function refuse(verb: SnapshotVerb, name: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new CowherdError(
    'PREFLIGHT_FAILED',
    `Cannot ${verb === 'rollback' ? 'roll back' : verb} snapshot of ${name}; nothing was changed`,
    {
      details: [...problems],
      hint: 'See docs/snapshots.md for the supported domains.',
    },
  );
}

/** @throws DOMAIN_CHANGED if the domain does not use the recorded overlays */
export function assertOnOverlays({ domain, xml, levels }: SnapshotContext, directory: string): void {
  const stray = strayDisks(xml, expectedDisks(levels));
  if (stray.length === 0) return;
  throw new CowherdError('DOMAIN_CHANGED', `${domain.name} no longer uses the overlays of its newest snapshot; nothing was changed`, {
    details: stray,
    // If another of its disks is in that directory, removing it would destroy that disk.
    hint: `Restore the overlay with "virsh edit ${virshWord(domain)}" (driver type qcow2), or attach the detached disk again.${
      xml.includes(directory) ? '' : ` If you do not need the snapshots, remove ${directory}.`
    }`,
  });
}

/** @returns backing files that have changed since the snapshots were taken, in words */
export async function changedImages(ports: Pick<Ports, 'disks'>, levels: readonly SnapshotLevel[]): Promise<string[]> {
  const changed: string[] = [];
  for (const level of levels) {
    for (const { target, backing, seal } of level.disks) {
      const differences = sealDifferences(seal, await ports.disks.seal(backing.path));
      if (differences.length > 0)
        changed.push(`${backing.path}, backing file of disk ${target} in ${levelName(level)}: ${differences.join(', ')}`);
    }
  }
  return changed;
}

/** @returns missing overlays, in words */
export async function missingOverlays(ports: Pick<Ports, 'disks'>, levels: readonly SnapshotLevel[]): Promise<string[]> {
  const missing: string[] = [];
  for (const level of levels)
    for (const { overlay } of level.disks)
      if ((await ports.disks.seal(overlay)) === undefined) missing.push(`${overlay}, an overlay of ${levelName(level)}, is missing`);
  return missing;
}

/** @throws IMAGE_CHANGED */
export async function assertImages(
  ports: Pick<Ports, 'disks'>,
  name: string,
  sound: readonly SnapshotLevel[],
  needed: readonly SnapshotLevel[],
): Promise<void> {
  const changed = [...(await changedImages(ports, sound)), ...(await missingOverlays(ports, needed))];
  if (changed.length === 0) return;
  throw new CowherdError('IMAGE_CHANGED', `Files of the snapshots of ${name} have changed; nothing was changed`, {
    details: changed,
    hint: `Overlays on a changed file may be inconsistent. Restore the original file, or discard the changes since then: cowherd snapshot drop ${shellWord(name)} --accept-changed`,
  });
}

/** Whether the domain is running. */
export function isRunning({ domain }: SnapshotContext): boolean {
  return isOn(domain);
}
