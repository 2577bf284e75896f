import { CowherdError } from '../../core/errors.js';
import { type DomainState, isOn } from '../../core/fleet/observation.js';
import { sealDifferences } from '../../core/image/base.js';
import type { ProgressListener } from '../../core/progress.js';
import { expectedDisks, levelName, type SnapshotJournal, type SnapshotLevel, type SnapshotVerb } from '../../core/snapshot/snapshot.js';
import { strayDisks } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';

/** Options that every verb takes which changes a domain. */
export interface SnapshotOptions {
  /** Name or UUID. */
  domain: string;
  /** How long the guest may take to shut down. */
  timeoutMs?: number | undefined;
  /** End the guest where it did not shut down in time. */
  force?: boolean | undefined;
  /** Start it again if it ran; the default. */
  start?: boolean | undefined;
  /** Say what would change in the XML, and change nothing. */
  diffOnly?: boolean | undefined;
  /**
   * Asked after all checks and before the first change.
   * @param isLoss whether something is lost for good; else a running domain would be shut down
   * @throws CANCELED where the answer is no, CONFIRMATION_NEEDED where there is no terminal
   */
  approve?: ((question: string, isLoss: boolean) => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

/** A domain with its snapshots, as they are under the lock. */
export interface SnapshotContext {
  domain: DomainState;
  /** What libvirt is to be told: the name, or the UUID where virsh would take the name for something else. */
  handle: string;
  xml: string;
  levels: SnapshotLevel[];
  journal: SnapshotJournal | undefined;
}

/** Runs work on a domain while no other run of cowherd changes its snapshots. @throws DOMAIN_NOT_FOUND, LOCKED, STATE_DAMAGED */
export async function withSnapshots<T>(ports: Ports, word: string, work: (sight: SnapshotContext) => Promise<T>): Promise<T> {
  const { uuid, name } = await findDomain(ports, word);
  return withSnapshotLock(
    ports,
    uuid,
    async () => {
      // Once more: it may have gone, or been started, while we waited for the lock.
      const domain = await findDomain(ports, uuid);
      const handle = handleOf(domain);
      const xml = await ports.domains.definition(handle);
      if (xml === undefined) throw await notFound(ports, word);
      const levels = (await ports.snapshots.read(uuid))?.levels ?? [];
      return work({ domain, handle, xml, levels, journal: await ports.snapshots.journal(uuid) });
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

/** virsh takes a number for the id of a running domain, whatever is called by it. */
export function handleOf({ name, uuid }: DomainState): string {
  return /^\d+$/.test(name) || /^[0-9a-f-]{32,36}$/i.test(name) ? uuid : name;
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
      `${record.levels.length} of its snapshots are in ${ports.snapshots.directory(uuid)}; they need its XML with the UUID ${uuid}`,
    );
  }
  return new CowherdError('DOMAIN_NOT_FOUND', `There is no domain ${JSON.stringify(word)}`, {
    details,
    hint:
      details.length > 0 ? 'Define it again as it was, or remove that directory when nothing of it is needed.' : 'See "virsh list --all".',
  });
}

/** What keeps any verb from working on a domain. @returns one line each */
export async function obstacles(ports: Ports, { domain }: SnapshotContext, force: boolean): Promise<string[]> {
  const { transient, managedSave, snapshots, checkpoints } = await ports.domains.managedState();
  const problems: string[] = [];
  if (transient.has(domain.name))
    problems.push('it is transient: it has no definition that could be changed (virsh define makes it lasting)');
  if (managedSave.has(domain.name))
    problems.push('it has a managed save, whose memory belongs to the disks as they are: start it, or virsh managedsave-remove');
  if (snapshots.has(domain.name))
    problems.push(
      'it has snapshots of libvirt, which would put its old disks back: virsh snapshot-list shows them, snapshot-delete merges or removes them',
    );
  if (checkpoints.has(domain.name))
    problems.push('it has checkpoints of libvirt, whose bitmaps are in the disks as they are: virsh checkpoint-delete');
  if (domain.state === 'paused' && !force)
    problems.push(`it is paused (${domain.reason}) and cannot shut down: virsh resume, or --force ends it`);
  if (domain.state === 'other') problems.push(`its state is "${domain.reason}"`);
  return problems;
}

export function refuse(verb: SnapshotVerb, name: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new CowherdError('PREFLIGHT_FAILED', `snapshot ${verb} of ${name} is refused; nothing was changed`, {
    details: [...problems],
    hint: 'docs/snapshots.md says which domains snapshots work with, and why.',
  });
}

/** @throws DOMAIN_CHANGED where the domain does not use the overlays that the record says */
export function assertOnOverlays({ domain, xml, levels }: SnapshotContext, directory: string): void {
  const stray = strayDisks(xml, expectedDisks(levels));
  if (stray.length === 0) return;
  throw new CowherdError('DOMAIN_CHANGED', `${domain.name} is not on the overlays of its newest snapshot any more; nothing was changed`, {
    details: stray,
    // As long as another of its disks is on a file in there, removing it would destroy that disk.
    hint: `Put the overlay back with "virsh edit ${domain.name}" (driver type qcow2), or attach again what was detached.${
      xml.includes(directory) ? '' : ` If nothing of the snapshots is needed any more, remove ${directory}.`
    }`,
  });
}

/** @returns in words, which backing files are not what they were when the snapshots were taken */
export async function changedImages(ports: Pick<Ports, 'disks'>, levels: readonly SnapshotLevel[]): Promise<string[]> {
  const changed: string[] = [];
  for (const level of levels) {
    for (const { target, backing, seal } of level.disks) {
      const differences = sealDifferences(seal, await ports.disks.seal(backing.path));
      if (differences.length > 0) changed.push(`${backing.path}, under disk ${target} of ${levelName(level)}: ${differences.join(', ')}`);
    }
  }
  return changed;
}

/** @returns in words, which overlays are gone */
export async function missingOverlays(ports: Pick<Ports, 'disks'>, levels: readonly SnapshotLevel[]): Promise<string[]> {
  const missing: string[] = [];
  for (const level of levels)
    for (const { overlay } of level.disks)
      if ((await ports.disks.seal(overlay)) === undefined) missing.push(`${overlay}, an overlay of ${levelName(level)}, is gone`);
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
  throw new CowherdError('IMAGE_CHANGED', `Files under the snapshots of ${name} are not what they were; nothing was changed`, {
    details: changed,
    hint: `What stands on a changed file is suspect. Bring back the file as it was; or give up what was written since: cowherd snapshot drop ${name} --accept-changed`,
  });
}

/** Whether it is off, or was stopped for the verb. */
export function isRunning({ domain }: SnapshotContext): boolean {
  return isOn(domain);
}
