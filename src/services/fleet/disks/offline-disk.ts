import { hasDisk } from '../../../core/domain/domain-xml.js';
import { CowherdError } from '../../../core/errors.js';
import { memberDisks } from '../../../core/fleet/disks.js';
import { isForeign } from '../../../core/fleet/foreign-member.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import { extrasHint, keepOverlayHint, mergedReason } from '../../../core/fleet/kept-disk.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { MarkedMember } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { tagPrefix } from '../../../core/snapshot/checkpoint.js';
import type { Ports } from '../../../ports/index.js';
import { foreignDiskHint } from './foreign-disks.js';

/** Checks that a member is stopped and has the disks that cowherd created, so that they can be read in full or replaced. */

export function runningError(record: Pick<FleetRecord, 'name'>, { index, name }: MemberIdentity, more = ''): CowherdError {
  return new CowherdError('NOT_OFF', `${name} is not shut off`, {
    hint: `Shut it down first: cowherd stop ${record.name} ${index}${more}`,
  });
}

/** Checks that the domain belongs to the member and uses the member's disks.
 * @param xml the domain's definition
 * @returns the overlay's path
 * @throws MEMBER_NOT_FOUND, FOREIGN_DOMAIN, BASE_REFUSED
 */
export function assertOwnDisk(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: MarkedMember, xml: string | undefined): string {
  const { name, domain, overlayBytes } = member;
  const again = `Run "cowherd spawn ${record.name}" again: it creates what is missing.`;
  if (domain === undefined) throw new CowherdError('MEMBER_NOT_FOUND', `${name} has no domain`, { hint: again });
  if (member.unread !== undefined) throw member.unread;
  if (isForeign(member, record.id)) {
    throw new CowherdError('FOREIGN_DOMAIN', `Domain ${domain.name} does not belong to this fleet or has lost its metadata`, {
      hint: `cowherd does not change it, nor files that it may have open. For details: cowherd status ${record.name}`,
    });
  }
  const { overlay } = ports.fleets.files(record.name, name);
  if (overlayBytes === undefined) throw new CowherdError('MEMBER_NOT_FOUND', `${name} has no overlay`, { details: [overlay], hint: again });
  const paths = memberDisks(record, member).map(({ stem }) => ports.fleets.files(record.name, name).disk(stem));
  const strange = paths.filter((path) => xml === undefined || !hasDisk(xml, path));
  if (strange.length > 0) {
    throw new CowherdError('BASE_REFUSED', `Domain ${name} no longer uses its own disks`, {
      details: strange.map((path) => `not attached: ${path}`),
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

/** Checks that the member is stopped, and that its disk is intact, has the expected backing file and is not open for writing.
 * @throws NOT_OFF, BASE_REFUSED
 */
export async function assertOffline(
  ports: Pick<Ports, 'images' | 'hypervisor'>,
  record: Pick<FleetRecord, 'name'>,
  member: MarkedMember,
  disk: DiskCheck,
): Promise<void> {
  if (isOn(member.domain)) throw runningError(record, member);
  await assertCopyable(ports, record, member, disk);
  await ports.images.check(disk.overlay, disk.signal);
}

/** The checks that are possible while a guest writes to the disk: it has the expected backing file and nothing that a copy would lose.
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
    throw new CowherdError('BASE_REFUSED', `Overlay ${overlay} of ${member.name} cannot be opened: it is damaged or not an overlay`, {
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
    const wanted = base === undefined ? 'has a backing file' : `is not based on ${formatBaseRef(base)}`;
    throw new CowherdError('BASE_REFUSED', `Overlay ${overlay} of ${member.name} ${wanted}`, {
      details: [
        `backing file: ${backing === undefined ? 'none' : `${backing.path} (${backing.format})`}`,
        `expected: ${base?.path ?? 'none'}`,
      ],
      hint: `Another program changed it. ${reset}`,
    });
  }
  if (extras.length > 0) {
    const isCheckpoint = extras.every((name) => name.includes(` ${tagPrefix}`));
    const known = isCheckpoint ? undefined : await ports.hypervisor.snapshotsOf(member.name).catch(() => undefined);
    throw new CowherdError('BASE_REFUSED', `Overlay ${overlay} of ${member.name} also contains ${extras.slice(0, 5).join(', ')}`, {
      hint: isCheckpoint
        ? `A copy would lose the checkpoint. Remove it first: cowherd checkpoint ${record.name} ${member.index} --drop`
        : extrasHint(subject, overlay, extras, known ?? { snapshots: [], checkpoints: [] }),
    });
  }
}
