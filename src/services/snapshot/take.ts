import { judgeDisks, nvramOf } from '../../core/domain/foreign-domain.js';
import { parseXml } from '../../core/domain/xml-tree.js';
import { CowherdError } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';
import { type CoveredDisk, planTake } from '../../core/snapshot/plan.js';
import { assertSnapshotName, defaultSnapshotName, isNotThere } from '../../core/snapshot/snapshot.js';
import type { Ports } from '../../ports/index.js';
import { assertImages, assertOnOverlays, isRunning, refuse, type SnapshotContext, type SnapshotOptions } from './access.js';
import { readChain } from './chain.js';
import { domainsWithDisk } from './image-users.js';
import { type Planned, runVerb, type SnapshotOutcome } from './verb.js';

export interface TakeOptions extends SnapshotOptions {
  name?: string | undefined;
  /** Detect the format of backing files that have none recorded. */
  trustChain?: boolean | undefined;
}

/** Shuts the domain down, creates an overlay on each of its writable disks, and starts it again on these.
 * @throws NOT_SUPPORTED for a fleet's member, PREFLIGHT_FAILED with all obstacles
 */
export function takeSnapshot(ports: Ports, options: TakeOptions): Promise<SnapshotOutcome> {
  if (options.name !== undefined) assertSnapshotName(options.name);
  return runVerb(ports, 'take', { ...options, snapshot: options.name }, (context) => plan(ports, context, options));
}

async function plan(ports: Ports, context: SnapshotContext, options: TakeOptions): Promise<Planned> {
  const { domain, ref, xml, levels } = context;
  const { uuid } = domain;
  await assertNoMember(ports, ref, domain.name);
  if (levels.length > 0) {
    assertOnOverlays(context, ports.snapshots.directory(uuid));
    await assertImages(ports, domain.name, levels, levels);
  }
  const name = options.name ?? defaultSnapshotName(ports.clock.now());
  if (levels.some((level) => level.name === name)) {
    throw new CowherdError('BAD_USAGE', `${domain.name} already has a snapshot ${name}`, { hint: 'Choose another --name.' });
  }
  const root = parseXml(xml, `The XML of ${domain.name}`);
  const { disks, problems, notes } = judgeDisks(root);
  const covered: CoveredDisk[] = [];
  for (const disk of disks) {
    const own = levels.flatMap((level) => level.disks).some(({ overlay }) => overlay === disk.image.path);
    if (!own) problems.push(...(await belongings(ports, domain, disk.target, disk.image.path)));
    covered.push({
      ...disk,
      below: await readChain(ports, disk, { isOn: isRunning(context), trustChain: options.trustChain === true }, problems),
    });
  }
  const nvram = nvramOf(root, ports.domains.nvramPath(domain.name));
  if (nvram.problem !== undefined) problems.push(nvram.problem);
  const unreadable = nvram.path === undefined ? undefined : await ports.disks.obstacle(nvram.path, 'read');
  if (unreadable !== undefined && unreadable !== isNotThere) problems.push(`its NVRAM ${nvram.path}: ${unreadable}`);
  const seen = nvram.path === undefined ? undefined : { path: nvram.path, exists: unreadable === undefined };
  refuse('take', domain.name, problems);

  const files = ports.snapshots.files(uuid);
  const journal = planTake({
    domain: domain.name,
    uuid,
    xml,
    levels,
    files,
    wasRunning: isRunning(context),
    now: ports.clock.now(),
    name,
    disks: covered,
    nvram: seen,
  });
  for (const { path } of journal.create)
    if ((await ports.disks.seal(path)) !== undefined) problems.push(`${path} exists but is in no record`);
  refuse('take', domain.name, problems);
  if (seen?.exists === false) notes.push('its NVRAM does not exist yet: a rollback will not change it');
  return { journal, notes };
}

/** @throws NOT_SUPPORTED */
async function assertNoMember(ports: Ports, ref: string, name: string): Promise<void> {
  const mark = (await ports.hypervisor.readMarks([ref])).get(ref);
  if (mark === undefined) return;
  throw new CowherdError('NOT_SUPPORTED', `${name} is a member of fleet ${mark.fleet} and already uses an overlay`, {
    hint: `Reset it to its base image: cowherd reset ${mark.fleet} ${mark.index}`,
  });
}

async function belongings(ports: Ports, domain: DomainState, target: string, path: string): Promise<string[]> {
  const problems: string[] = [];
  const [real, store] = [await ports.disks.realPath(path), await ports.disks.realPath(ports.fleets.root)];
  if (real.startsWith(`${store}/`)) problems.push(`disk ${target} is in cowherd's store: ${path}`);
  for (const other of await domainsWithDisk(ports, domain, path))
    problems.push(`disk ${target} is also a disk of domain ${other}: ${path}`);
  return problems;
}
