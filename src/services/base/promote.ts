import { dirname } from 'node:path';
import { CowherdError, reportOf } from '../../core/errors.js';
import { isOn } from '../../core/fleet/observation.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import { baseOf } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import { layersOf, maxLayers } from '../../core/image/base-chain.js';
import type { HygieneWarning } from '../../core/image/hygiene.js';
import type { Prepared } from '../../core/image/origin.js';
import { assertName } from '../../core/names.js';
import type { ImportResult } from '../../ports/bases.js';
import type { Ports } from '../../ports/index.js';
import { assertNothingUnfinished, assertWork, observeWithMarks, verifiedBase, type WorkOptions, withFleetLock } from '../fleet/access.js';
import { assertCopyable, assertOffline, assertOwnDisk, runningError } from '../fleet/disks/offline-disk.js';
import { type FoundMember, findMember } from '../fleet/members.js';
import { start, stop } from '../fleet/power.js';
import { assertRoom } from '../preflight/disk-space.js';
import { type BaseListing, describeBase, hygieneWarningsOf } from './bases.js';
import { baseUsers } from './users.js';

export interface PromoteOptions extends WorkOptions {
  /** `lab-003`, or `lab 3` as two words. */
  member: readonly string[];
  /** Name of the new base image. */
  as: string;
  /** Store only the differences from the member's base image, with that as backing file. */
  layered?: boolean | undefined;
  /** If the member is running, shut it down first and start it again at the end. */
  stop?: boolean | undefined;
  /** Time limit for the guest's shutdown. */
  timeoutMs?: number | undefined;
  /** For the record of the new image: how its disk was prepared. */
  prepared?: Prepared | undefined;
}

export interface Promotion extends BaseListing {
  how: ImportResult['how'];
  generalisation: HygieneWarning[];
  notes: string[];
}

/** Creates a base image from a member's disk. Its backing file is only read. @throws NOT_OFF if the member is not shut off, BASE_REFUSED if its disk is not the one cowherd created, PREFLIGHT_FAILED without enough space
 */
export async function promote(ports: Ports, options: PromoteOptions): Promise<Promotion> {
  assertName('base', options.as);
  assertWork(options);
  const found = await findMember(ports, options.member);
  // Run all checks before the guest is shut down.
  const { member } = await assertPromotable(ports, found, options);
  const isStopped = options.stop === true && isOn(member.domain);
  if (isStopped) await shutDown(ports, found, options);
  try {
    const promotion = await withFleetLock(ports, found.record.name, () => promoteOffline(ports, options));
    return isStopped ? { ...promotion, notes: [...promotion.notes, ...(await startAgain(ports, found))] } : promotion;
  } catch (error) {
    if (isStopped) await startAgain(ports, found);
    throw error;
  }
}

interface Promotable extends FoundMember {
  member: MarkedMember;
  overlay: string;
  base: BaseImage;
}

/** The checks that also apply to a running member. */
async function assertPromotable(ports: Ports, { record, member: named }: FoundMember, options: PromoteOptions): Promise<Promotable> {
  await assertNothingUnfinished(ports, record.name, () => false);
  const base = await verifiedBase(ports, baseOf(record, named));
  const depth = layersOf(base).length + 1;
  if (options.layered === true && depth > maxLayers) {
    throw new CowherdError('BAD_USAGE', `${formatBaseRef(base)} already has ${depth - 1} layers; the maximum is ${maxLayers}`, {
      hint: 'Omit --layered: the new image is then one standalone file.',
    });
  }
  const [member] = await observeWithMarks(ports, { ...record, members: [named] });
  if (member === undefined) throw new Error(`${named.name} was not observed`);
  const overlay = assertOwnDisk(ports, record, member, (await ports.hypervisor.readXml([member.name])).get(member.name));
  if (options.stop !== true && isOn(member.domain)) throw runningError(record, member, ', or use --stop');
  await assertCopyable(ports, record, member, { overlay, base });
  return { record, member, overlay, base };
}

async function promoteOffline(ports: Ports, options: PromoteOptions): Promise<Promotion> {
  const { signal, onProgress, layered = false } = options;
  // Check again: the fleet is locked only now.
  const { record, member, overlay, base } = await assertPromotable(ports, await findMember(ports, options.member), options);
  const { index, name } = member;
  if ((await ports.hypervisor.listSaved()).has(name)) {
    throw new CowherdError('NOT_OFF', `${name} is stopped with saved memory: its disk lacks the data that the guest had not written yet`, {
      hint: `Start it and shut it down: cowherd start ${record.name} ${index}; cowherd stop ${record.name} ${index}`,
    });
  }
  await assertOffline(ports, record, member, { overlay, base, signal });
  const {
    base: promoted,
    how,
    warning,
  } = await ports.bases.locked(async () => {
    const bytes = layered ? (member.overlayBytes ?? 0) : await ports.images.measure({ path: overlay, format: 'qcow2' });
    await assertRoom(ports, dirname(dirname(base.path)), bytes, `Promoting ${name}`);
    return ports.bases.promote({
      overlay,
      base,
      name: options.as,
      layered,
      promotedFrom: { fleet: record.name, member: name, base: { name: base.name, digest: base.digest } },
      prepared: options.prepared,
      onProgress: (progress) => onProgress?.({ kind: 'bytes', what: `promoting ${name}`, ...progress }),
      signal,
    });
  }, options);
  const { users } = await baseUsers(ports).catch(() => ({ users: new Map<string, string[]>() }));
  return {
    ...(await describeBase(ports, promoted, users)),
    how,
    generalisation: await hygieneWarningsOf(ports, promoted),
    notes: [
      ...(warning === undefined ? [] : [warning]),
      ...(record.spec.disks.length === 0
        ? []
        : [`only the first disk of ${name} was promoted, without ${record.spec.disks.map((disk) => disk.name).join(', ')}`]),
    ],
  };
}

async function shutDown(ports: Ports, { record, member }: FoundMember, { timeoutMs, signal, onProgress }: PromoteOptions): Promise<void> {
  onProgress?.({ kind: 'note', text: `Shutting down ${member.name}.` });
  const { members, operation } = await stop(ports, { fleet: record.name, members: [member.name], timeoutMs, signal });
  const error = members[0]?.error;
  if (error !== undefined) {
    throw new CowherdError('NOT_STOPPED', error.message, {
      hint: `Force it off, if necessary: cowherd stop ${record.name} ${member.index} --force`,
    });
  }
  if (operation.interrupted) throw new CowherdError('INTERRUPTED', `Interrupted while ${member.name} was shutting down`);
}

/** Also after Ctrl-C: the member was running before. @returns notes for the user */
async function startAgain(ports: Ports, { record, member }: FoundMember): Promise<string[]> {
  try {
    const { members } = await start(ports, { fleet: record.name, members: [member.name] });
    const error = members[0]?.error;
    return [
      error === undefined ? `${member.name} was shut down and started again` : `${member.name} was not started again: ${error.message}`,
    ];
  } catch (error) {
    return [`${member.name} was not started again: ${reportOf(error).message}`];
  }
}
