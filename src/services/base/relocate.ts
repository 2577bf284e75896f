import pLimit from 'p-limit';
import { additionsHint, additionsIn, withTexts } from '../../core/domain/additions.js';
import { hasDisk } from '../../core/domain/domain-xml.js';
import { imagesPrintedIn } from '../../core/domain/foreign-domain.js';
import type { BaseLookup } from '../../core/domain/template.js';
import { CowherdError, type ErrorReport, reportOf } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import { foreignReason, isForeign } from '../../core/fleet/foreign-member.js';
import { isOn } from '../../core/fleet/observation.js';
import type { Operation } from '../../core/fleet/operation.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import { type BaseRef, baseOf, basesOf, type FleetRecord } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef, shortDigest } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import {
  assertNothingUnfinished,
  assertWork,
  defaultBootConcurrency,
  loadFleet,
  observeWithMarks,
  type WorkOptions,
  withFleetLock,
} from '../fleet/access.js';
import { foreignDiskHint } from '../fleet/disks/foreign-disks.js';
import { verifiedBases } from '../fleet/disks/fresh-disks.js';
import { runningError } from '../fleet/disks/offline-disk.js';
import { definitionsOf } from '../fleet/reset/cold.js';
import { isAborted } from '../run/member-executor.js';
import { reseal } from './reseal.js';

/** Repairs a store that was moved: overlays, domains and seals of base images still refer to the old paths and files. */

export interface RelocateOptions extends WorkOptions {
  /** Default: all fleets of the store. */
  fleet?: string | undefined;
}

export interface MemberRelocation {
  fleet: string;
  index: number;
  name: string;
  outcome: 'relocated' | 'unchanged' | 'failed' | 'cancelled';
  error?: ErrorReport;
}

export interface Relocation {
  /** NAME@DIGEST of base images whose files were replaced, with unchanged content. */
  resealed: string[];
  counts: Record<MemberRelocation['outcome'], number>;
  members: MemberRelocation[];
  seconds: number;
  interrupted: boolean;
}

/** Replaces old paths in the overlays (headers only) and domains of members that are stopped. Base images that were copied are read in full and accepted if their content is unchanged. Can be run again after an interruption. An unfinished operation stays unfinished: `resume` needs the paths that are repaired here.
 * @throws BASE_CHANGED if the content of an image differs; nothing was changed then
 */
export async function relocate(ports: Ports, options: RelocateOptions = {}): Promise<Relocation> {
  assertWork(options);
  const began = ports.clock.monotonic();
  const { fleet, signal } = options;
  const fleets = fleet === undefined ? await ports.fleets.list() : [fleet];
  if (fleet !== undefined) await loadFleet(ports, fleet);
  const resealed = await ports.bases.locked(() => reseal(ports, options), options);
  const members: MemberRelocation[] = [];
  for (const name of fleets) {
    try {
      members.push(...(await withFleetLock(ports, name, () => relocateFleet(ports, name, options))));
    } catch (error) {
      // A failing fleet does not prevent the others.
      if (fleet !== undefined || !(error instanceof CowherdError) || error.code === 'INTERRUPTED') throw error;
      members.push({ fleet: name, index: 0, name, outcome: 'failed', error: reportOf(error) });
    }
  }
  const counts: Relocation['counts'] = { relocated: 0, unchanged: 0, failed: 0, cancelled: 0 };
  for (const { outcome } of members) counts[outcome]++;
  const seconds = Math.round(ports.clock.monotonic() - began) / 1000;
  return { resealed, counts, members, seconds, interrupted: isAborted(signal) };
}

async function relocateFleet(ports: Ports, fleet: string, options: RelocateOptions): Promise<MemberRelocation[]> {
  // A fleet that is being removed needs no new paths.
  await assertNothingUnfinished(ports, fleet, ({ operation }) => operation.verb !== 'teardown');
  const operation = (await ports.fleets.unfinished(fleet))?.operation;
  // The intent may be the only record of the members of an interrupted spawn.
  const record = (operation?.verb === 'spawn' ? operation.record : undefined) ?? (await loadFleet(ports, fleet));
  const candidates = operation?.record === undefined ? [] : basesOf(operation.record);
  const imageOf = await verifiedBases(ports, record, candidates);
  const members = await observeWithMarks(ports, record);
  const documents = await ports.hypervisor.readXml(members.flatMap(({ domain }) => (domain === undefined ? [] : [domain.uuid])));
  const work = new FleetRelocation(ports, record, imageOf, documents, operation, candidates);
  const limit = pLimit(options.concurrency ?? defaultBootConcurrency);
  let done = 0;
  return Promise.all(
    members.map((member) =>
      limit(async (): Promise<MemberRelocation> => {
        const { index, name } = member;
        if (isAborted(options.signal)) return { fleet, index, name, outcome: 'cancelled' };
        try {
          return { fleet, index, name, outcome: await work.settle(member) };
        } catch (error) {
          return { fleet, index, name, outcome: 'failed', error: reportOf(error) };
        } finally {
          options.onProgress?.({ kind: 'stage', stage: 'relocate', done: ++done, total: members.length });
        }
      }),
    ),
  );
}

class FleetRelocation {
  /** By base image: definitions of all members, rendered when first needed. */
  readonly #definitions = new Map<string, ReturnType<typeof definitionsOf>>();

  constructor(
    private readonly ports: Ports,
    private readonly record: FleetRecord,
    private readonly imageOf: BaseLookup,
    private readonly documents: ReadonlyMap<string, string>,
    /** The unfinished operation. */
    private readonly operation: Operation | undefined,
    /** Base images that an unfinished rebase may have moved a member to. */
    private readonly candidates: readonly BaseRef[],
  ) {}

  async settle(member: MarkedMember): Promise<'relocated' | 'unchanged'> {
    const { ports, record } = this;
    const { name, domain } = member;
    if (isForeign(member, record.id)) {
      const { reason, hint } = foreignReason(member);
      throw new CowherdError('FOREIGN_DOMAIN', `${name}: ${reason}`, { hint });
    }
    const overlays = await this.#overlays(member);
    const moved = overlays.filter(({ isMoved }) => isMoved);
    const isDomainMoved = domain !== undefined && (await this.#isDomainMoved(member, this.documents.get(domain.uuid) ?? ''));
    if (moved.length === 0 && !isDomainMoved) return 'unchanged';
    if (isOn(domain)) throw runningError(record, member);
    if ((await ports.hypervisor.listSaved()).has(name)) {
      throw new CowherdError('NOT_OFF', `${name} is stopped with saved memory, which refers to the old path`, {
        hint: `If you do not need the saved memory: virsh managedsave-remove ${name}`,
      });
    }
    for (const { path, base } of moved) await ports.images.repoint(path, base);
    if (isDomainMoved) {
      const xml = (await this.#definitionsOn(overlays.find(({ stem }) => stem === name)?.base ?? baseOf(record, member))).get(name)?.xml;
      if (xml === undefined) throw new Error(`no definition of ${name} was rendered`);
      const current = this.documents.get(domain?.uuid ?? '') ?? '';
      const added = additionsIn(current, member, record.name, [xml]);
      if (added.length > 0) {
        throw new CowherdError('DOMAIN_CHANGED', `Redefining ${name} would lose ${added.map(({ what }) => what).join(', ')}`, {
          hint: additionsHint(name, added),
        });
      }
      await ports.hypervisor.define({ name, xml: withTexts(xml, current, [xml]) });
    }
    return 'relocated';
  }

  /** While a rebase is unfinished, a member's base image may differ from the recorded one. */
  #definitionsOn({ name, digest }: BaseRef): ReturnType<typeof definitionsOf> {
    const { ports, record } = this;
    const base = { name, digest };
    const known = this.#definitions.get(baseKey(base));
    if (known !== undefined) return known;
    const members = record.members.map((member) => ({ ...member, base }));
    const definitions = definitionsOf(ports, record, members, this.imageOf);
    this.#definitions.set(baseKey(base), definitions);
    return definitions;
  }

  /** The base image of each overlay, and whether the overlay refers to it by an old path. @throws BASE_REFUSED if it is another image */
  async #overlays(member: MarkedMember): Promise<Array<{ stem: string; path: string; base: BaseImage; isMoved: boolean }>> {
    const { ports, record } = this;
    const overlays: Array<{ stem: string; path: string; base: BaseImage; isMoved: boolean }> = [];
    for (const { stem, origin } of memberDisks(record, member)) {
      if (!('base' in origin)) continue;
      const named = await ports.overlays.backingFile(record.name, stem);
      if (named === undefined) continue;
      const path = ports.fleets.files(record.name, member.name).disk(stem);
      const images = [origin.base, ...(stem === member.name ? this.candidates : [])].map((ref) => this.imageOf(ref));
      const there = await this.#firstAt(named, images);
      // The file name contains the digest, and the content of that image was verified above.
      const base = there ?? images.find(({ name, digest, format }) => named.endsWith(`/bases/${name}/${shortDigest(digest)}.${format}`));
      if (base === undefined) {
        throw new CowherdError('BASE_REFUSED', `${path} is based on ${named}, not on ${formatBaseRef(origin.base)}`, {
          hint: `A reset gives ${member.name} a fresh disk and discards its changes.`,
        });
      }
      overlays.push({ stem, path, base, isMoved: there === undefined });
    }
    return overlays;
  }

  async #firstAt(path: string, images: readonly BaseImage[]): Promise<BaseImage | undefined> {
    for (const image of images) if (await this.#isSameFile(path, image.path)) return image;
    return undefined;
  }

  /** Whether the domain refers to its disks by an old path. @throws BASE_REFUSED if it has other disks */
  async #isDomainMoved({ name, ...member }: MarkedMember, xml: string): Promise<boolean> {
    const { ports, record } = this;
    const { disk } = ports.fleets.files(record.name, name);
    const { heads } = imagesPrintedIn(xml);
    let isMoved = false;
    // A spawn that adds a disk may have been interrupted before it attached the disk to the domain.
    const isAdded = (stem: string): boolean => stem !== name && this.operation?.verb === 'spawn';
    for (const { stem } of memberDisks(record, { ...member, name })) {
      if (hasDisk(xml, disk(stem))) continue;
      const elsewhere = heads.find((head) => head.endsWith(`/fleets/${record.name}/overlays/${stem}.qcow2`));
      if (elsewhere === undefined && isAdded(stem)) continue;
      if (elsewhere === undefined) {
        throw new CowherdError('BASE_REFUSED', `Domain ${name} no longer uses its own disks`, {
          details: [`its disks: ${heads.join(', ') || 'none'}`],
          hint: foreignDiskHint(ports, record, { ...member, name }, xml),
        });
      }
      if (!(await this.#isSameFile(elsewhere, disk(stem)))) isMoved = true;
    }
    return isMoved;
  }

  /** A store may be reached by more than one path. */
  async #isSameFile(one: string, other: string): Promise<boolean> {
    return one === other || (await this.ports.disks.realPath(one)) === (await this.ports.disks.realPath(other));
  }
}

/** 0 all done, 4 some failed, 130 interrupted. */
export function exitCodeOfRelocation({ counts, interrupted }: Relocation): number {
  if (interrupted) return 130;
  return counts.failed > 0 ? 4 : 0;
}
