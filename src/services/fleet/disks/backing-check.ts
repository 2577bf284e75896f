import { imagesPrintedIn } from '../../../core/domain/foreign-domain.js';
import { CowherdError, isDenied } from '../../../core/errors.js';
import { memberDisks } from '../../../core/fleet/disks.js';
import { isForeign, unreadReason } from '../../../core/fleet/foreign-member.js';
import { keepOverlayHint, mergedReason } from '../../../core/fleet/kept-disk.js';
import { isOn, type ObservedMember } from '../../../core/fleet/observation.js';
import type { MarkedMember, Plan } from '../../../core/fleet/plan/member-plan.js';
import { type BaseRef, baseOf, basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import { formatBaseRef } from '../../../core/image/base.js';
import { baseKey } from '../../../core/image/base-chain.js';
import type { Ports } from '../../../ports/index.js';
import { byName } from '../../run/run-plan.js';

/** The actual base image of members, from the headers of their overlays. */

type BackingPorts = Pick<Ports, 'bases' | 'fleets' | 'overlays' | 'disks'>;

/** Identifies the base image of an overlay among given images. */
class Headers {
  readonly #ports: BackingPorts;
  readonly #refs = new Map<string, BaseRef>();
  readonly #realPaths = new Map<string, Promise<string>>();

  private constructor(ports: BackingPorts) {
    this.#ports = ports;
  }

  /** Missing images are skipped: no overlay can use them. */
  static async among(ports: BackingPorts, refs: readonly BaseRef[]): Promise<Headers> {
    const headers = new Headers(ports);
    for (const ref of refs) {
      const image = await ports.bases.get(ref).catch(() => undefined);
      if (image !== undefined) headers.#refs.set(await headers.#realPath(image.path), { name: image.name, digest: image.digest });
    }
    return headers;
  }

  /** @returns the base image, undefined if it is none of the given ones, and the path in the header */
  async of(fleet: string, member: string): Promise<{ base: BaseRef | undefined; named: string | undefined; refusal?: CowherdError }> {
    let named: string | undefined;
    try {
      named = await this.#ports.overlays.backingFile(fleet, member);
    } catch (error) {
      // An unreadable header is an error of that member only.
      if (!(error instanceof CowherdError)) throw error;
      return { named: undefined, base: undefined, refusal: error };
    }
    return { named, base: named === undefined ? undefined : this.#refs.get(await this.#realPath(named)) };
  }

  /** A store may be reached by more than one path. */
  #realPath(path: string): Promise<string> {
    const real = this.#realPaths.get(path) ?? this.#ports.disks.realPath(path);
    this.#realPaths.set(path, real);
    return real;
  }
}

/** The record with the actual base image of each member. If all agree, it becomes the fleet's base image.
 * @param candidates possible base images besides those of the record
 * @param indexes members to check; the others keep their recorded base image
 */
export async function recordAsFound(
  ports: BackingPorts,
  record: FleetRecord,
  candidates: readonly BaseRef[],
  indexes?: ReadonlySet<number>,
): Promise<FleetRecord> {
  const headers = await Headers.among(ports, [...basesOf(record), ...candidates]);
  const members = await Promise.all(
    record.members.map(async (member) => {
      if (indexes !== undefined && !indexes.has(member.index)) return { ...member, base: baseOf(record, member) };
      return { ...member, base: (await headers.of(record.name, member.name)).base ?? baseOf(record, member) };
    }),
  );
  const kinds = new Map(members.map(({ base }) => [baseKey(base), base]));
  const [only] = kinds.values();
  const common = kinds.size === 1 && only !== undefined ? only : record.base;
  return {
    ...record,
    base: common,
    members: members.map(({ base, ...member }) => (baseKey(base) === baseKey(common) ? member : { ...member, base })),
  };
}

/** Members whose overlay has another base image than recorded: their guests would see inconsistent data. */
export async function misplaced(ports: BackingPorts, record: FleetRecord, members: readonly ObservedMember[]): Promise<Misplaced[]> {
  const headers = await Headers.among(ports, basesOf(record));
  const found = await Promise.all(
    members.map(async (member) => {
      if (member.overlayBytes === undefined) return [];
      const meant = baseOf(record, member);
      const { base, named, refusal } = await headers.of(record.name, member.name);
      if (base !== undefined && baseKey(base) === baseKey(meant)) return furtherRefusals(ports, record, member);
      return [await misplacedAs(ports, record, member, { base, named, refusal })];
    }),
  );
  return found.flat();
}

export interface Misplaced {
  name: string;
  reason: string;
  hint: string;
  /** The content of the disk is unknown. */
  isDamaged: boolean;
}

async function misplacedAs(
  ports: BackingPorts,
  record: FleetRecord,
  member: ObservedMember,
  { base, named, refusal }: { base: BaseRef | undefined; named: string | undefined; refusal: CowherdError | undefined },
): Promise<Misplaced> {
  const { name, index } = member;
  const meant = baseOf(record, member);
  const resetHint = misplacedHint(record, index, named);
  if (refusal !== undefined) {
    // Without read permission, nothing is known about its content.
    const isClosed = isDenied(refusal);
    return { name, reason: refusal.message, hint: isClosed ? (refusal.hint ?? resetHint) : resetHint, isDamaged: !isClosed };
  }
  const { overlay } = ports.fleets.files(record.name, name);
  const image = await ports.bases.get(meant).catch(() => undefined);
  const subject = { fleet: record.name, index, name, isOn: isOn(member.domain) };
  if (named === undefined) {
    const isWhole = (await ports.disks.qcow2Header(overlay).catch(() => undefined))?.hasBackingFile === false;
    return isWhole && image !== undefined
      ? { name, reason: mergedReason, hint: keepOverlayHint(subject, overlay, image), isDamaged: false }
      : { name, reason: 'its overlay is damaged: it has no backing file', hint: resetHint, isDamaged: true };
  }
  const reason = `its overlay is based on ${base === undefined ? named : formatBaseRef(base)}, not on ${formatBaseRef(meant)}`;
  // The backing file is a layer of the base image, after a blockpull of the layers above: the content is complete.
  const isLayer = image?.backing.some(({ path }) => path === named) === true;
  return { name, reason, hint: isLayer && image !== undefined ? keepOverlayHint(subject, overlay, image) : resetHint, isDamaged: false };
}

/** Checks a member's further disks, which are not checked elsewhere before the guest writes to them. */
async function furtherRefusals({ overlays }: Pick<Ports, 'overlays'>, record: FleetRecord, member: ObservedMember): Promise<Misplaced[]> {
  for (const { stem } of memberDisks(record, member).filter(({ stem }) => stem !== member.name)) {
    try {
      await overlays.backingFile(record.name, stem);
    } catch (error) {
      if (!(error instanceof CowherdError)) throw error;
      return [{ name: member.name, reason: error.message, hint: misplacedHint(record, member.index, undefined), isDamaged: true }];
    }
  }
  return [];
}

/** Refuses members with an unexpected base image. */
export async function refuseMisplaced(
  ports: BackingPorts,
  record: FleetRecord,
  observed: readonly MarkedMember[],
  plan: Plan,
): Promise<Plan> {
  const members = byName(observed);
  const planned = plan.members.flatMap(({ name }) => members.get(name) ?? []);
  const refused = (await misplaced(ports, record, planned)).map(({ name, reason, hint }) => ({ name, reason, hint }));
  return without(plan, refused);
}

export function misplacedHint(record: Pick<FleetRecord, 'name'>, index: number, named: string | undefined): string {
  const resetHint = `A reset gives it a fresh one and discards its changes: cowherd reset ${record.name} ${index}`;
  return named === undefined ? resetHint : `Was the store moved? "cowherd base relocate" fixes that. ${resetHint}`;
}

/** Refuses members whose domain names another base image than recorded. Redefining the domain fixes that. */
export function refuseStaleDefinitions(record: FleetRecord, observed: readonly MarkedMember[], plan: Plan): Plan {
  const members = byName(observed);
  const refused = plan.members.flatMap(({ name }) => {
    const member = members.get(name);
    if (member?.mark === undefined || member.mark.baseDigest === baseOf(record, member).digest) return [];
    return [
      {
        name,
        reason: 'its domain names another base image than its record',
        hint: `Redefine it: cowherd spawn ${record.name} --no-start`,
      },
    ];
  });
  return without(plan, refused);
}

/** Refuses members whose domain uses the disk of another store's member of the same name: the records of a copied store describe the guests of the original.
 */
export async function refuseOtherStores(
  ports: Pick<Ports, 'hypervisor' | 'fleets' | 'disks'>,
  record: FleetRecord,
  observed: readonly MarkedMember[],
  plan: Plan,
): Promise<Plan> {
  const members = byName(observed);
  const own = plan.members.flatMap(({ name }) => {
    const member = members.get(name);
    return member?.domain === undefined || isForeign(member, record.id) ? [] : [member];
  });
  const failed = new Map<string, CowherdError>();
  const documents = await ports.hypervisor.readXml(
    own.map(({ name }) => name),
    failed,
  );
  const refused = [...failed].map(([name, error]) => unreadReason(name, error));
  for (const { name } of own.filter((member) => !failed.has(member.name))) {
    const { overlay } = ports.fleets.files(record.name, name);
    const ending = `/fleets/${record.name}/overlays/${name}.qcow2`;
    const other = imagesPrintedIn(documents.get(name) ?? '').heads.find((head) => head !== overlay && head.endsWith(ending));
    if (other === undefined || (await ports.disks.seal(other)) === undefined) continue;
    if ((await ports.disks.realPath(other)) === (await ports.disks.realPath(overlay))) continue;
    const reason = `its domain uses the disk ${other} of another store`;
    refused.push({
      name,
      reason,
      hint: `Use that store: --store ${other.slice(0, -ending.length)}. To remove a copy of a store, remove its directory.`,
    });
  }
  return without(plan, refused);
}

function without(plan: Plan, refused: Plan['refused']): Plan {
  const names = new Set(refused.map(({ name }) => name));
  return { ...plan, members: plan.members.filter((member) => !names.has(member.name)), refused: [...plan.refused, ...refused] };
}
