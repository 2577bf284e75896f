import { hasDisk } from '../../../core/domain/domain-xml.js';
import { CowherdError } from '../../../core/errors.js';
import { memberDisks } from '../../../core/fleet/disks.js';
import { isForeign } from '../../../core/fleet/foreign-member.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import { extrasHint, keepOverlayHint, mergedReason } from '../../../core/fleet/kept-disk.js';
import type { MarkedMember } from '../../../core/fleet/member-plan.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { tagPrefix } from '../../../core/snapshot/checkpoint.js';
import type { Ports } from '../../../ports/index.js';
import { foreignDiskHint } from './foreign-disks.js';

/** Members that are off, and whose disks are those that cowherd made: what may be read as a whole, and replaced. */

export function runningError(record: Pick<FleetRecord, 'name'>, { index, name }: MemberIdentity, more = ''): CowherdError {
  return new CowherdError('NOT_OFF', `${name} is not off`, { hint: `Shut it down first: cowherd stop ${record.name} ${index}${more}` });
}

/**
 * The domain is the member's, and its disks are the member's.
 * @param xml the domain as it is defined
 * @returns the overlay's path
 * @throws MEMBER_NOT_FOUND, FOREIGN_DOMAIN, BASE_REFUSED
 */
export function assertOwnDisk(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: MarkedMember, xml: string | undefined): string {
  const { name, domain, overlayBytes } = member;
  const again = `Run "cowherd spawn ${record.name}" again: it makes what is missing.`;
  if (domain === undefined) throw new CowherdError('MEMBER_NOT_FOUND', `${name} has no domain`, { hint: again });
  if (member.unread !== undefined) throw member.unread;
  if (isForeign(member, record.id)) {
    throw new CowherdError('FOREIGN_DOMAIN', `The domain ${domain.name} is not ${name} of this fleet, or has lost its mark`, {
      hint: `cowherd does not touch it, nor what it may have open. "cowherd status ${record.name}" says more.`,
    });
  }
  const { overlay } = ports.fleets.files(record.name, name);
  if (overlayBytes === undefined) throw new CowherdError('MEMBER_NOT_FOUND', `${name} has no overlay`, { details: [overlay], hint: again });
  const paths = memberDisks(record, member).map(({ stem }) => ports.fleets.files(record.name, name).disk(stem));
  const strange = paths.filter((path) => xml === undefined || !hasDisk(xml, path));
  if (strange.length > 0) {
    throw new CowherdError('BASE_REFUSED', `The domain of ${name} does not have its own disks any more`, {
      details: strange.map((path) => `it has not ${path}`),
      hint: foreignDiskHint(ports, record, member, xml ?? ''),
    });
  }
  return overlay;
}

interface DiskCheck {
  overlay: string;
  base: BaseImage | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * The disk is sound, stands on that base image (or on nothing) and on nothing else, and nothing has it open for writing.
 * @throws NOT_OFF, BASE_REFUSED
 */
export async function assertResting(
  ports: Pick<Ports, 'images' | 'hypervisor'>,
  record: Pick<FleetRecord, 'name'>,
  member: MarkedMember,
  disk: DiskCheck,
): Promise<void> {
  if (isOn(member.domain)) throw runningError(record, member);
  await assertCopyable(ports, record, member, disk);
  await ports.images.check(disk.overlay, disk.signal);
}

/**
 * What can be said of a disk that a guest may be writing to: it stands on what it should, and holds nothing that a copy would lose.
 * @throws BASE_REFUSED
 */
export async function assertCopyable(
  ports: Pick<Ports, 'images' | 'hypervisor'>,
  record: Pick<FleetRecord, 'name'>,
  member: MarkedMember,
  { overlay, base }: DiskCheck,
): Promise<void> {
  const reset = `A reset gives the member a fresh one: cowherd reset ${record.name} ${member.index}`;
  const { backing, extras } = await ports.images.info(overlay, 'qcow2', isOn(member.domain)).catch((cause: unknown) => {
    if (!(cause instanceof CowherdError) || cause.code !== 'TOOL_FAILED') throw cause;
    throw new CowherdError('BASE_REFUSED', `${overlay} of ${member.name} cannot be opened: it is damaged, or no overlay at all`, {
      details: [cause.message],
      hint: reset,
      cause,
    });
  });
  const subject = { fleet: record.name, index: member.index, name: member.name, isOn: isOn(member.domain) };
  if (backing === undefined && base !== undefined) {
    throw new CowherdError('BASE_REFUSED', `${member.name}: ${mergedReason}`, {
      details: [overlay],
      hint: keepOverlayHint(subject, overlay, base),
    });
  }
  if (backing?.path !== base?.path || backing?.format !== base?.format) {
    const wanted = base === undefined ? 'alone' : `on ${formatBaseRef(base)}`;
    throw new CowherdError('BASE_REFUSED', `${overlay} of ${member.name} does not stand ${wanted}`, {
      details: [
        `it names ${backing === undefined ? 'no backing file' : `${backing.path} (${backing.format})`}`,
        `not ${base?.path ?? 'none'}`,
      ],
      hint: `Somebody changed it. ${reset}`,
    });
  }
  if (extras.length > 0) {
    const isCheckpoint = extras.every((name) => name.includes(` ${tagPrefix}`));
    const known = isCheckpoint ? undefined : await ports.hypervisor.snapshotsOf(member.name).catch(() => undefined);
    throw new CowherdError('BASE_REFUSED', `${overlay} of ${member.name} holds more than its disk: ${extras.slice(0, 5).join(', ')}`, {
      hint: isCheckpoint
        ? `A copy would lose the checkpoint. Give it up first: cowherd checkpoint ${record.name} ${member.index} --drop`
        : extrasHint(subject, overlay, extras, known ?? { snapshots: [], checkpoints: [] }),
    });
  }
}
