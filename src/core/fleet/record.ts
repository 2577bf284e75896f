import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { choiceSchema } from '../host/cpu.js';
import { memberName, namePattern } from '../names.js';
import { type BaseRef, baseRefSchema, domainSpecSchema, placementSchema } from '../spec/spec.js';
import { type MemberIdentity, memberIdentity, memberUuid } from './identity.js';

export { type BaseRef, baseRefSchema };

/** fleet.json: the intended state of the fleet, never the observed one. */
export const fleetRecordSchema = z.strictObject({
  version: z.literal(1),
  /** Random; all member identities are derived from it. */
  id: z.uuid(),
  name: z.string().regex(namePattern),
  base: baseRefSchema,
  spec: domainSpecSchema,
  /** For virtType auto: what was chosen for all members. Absent in fleets of cowherd 0.1.0. */
  accelerator: choiceSchema.optional(),
  /** Of fleets on another platform than this host. */
  placement: z
    .strictObject({
      /** Name of the engine. */
      engine: z.string(),
      /** Which one of the engine's places, such as the id of a project. */
      place: z.string().optional(),
      settings: placementSchema,
      /** Ids of base images on the platform, by their digest. */
      images: z.record(z.string(), z.string()),
    })
    .optional(),
  createdAt: z.iso.datetime(),
  /** `spawn --boot-once`: the fleet whose members become clones of this fleet's only member. Then this fleet is removed. */
  bootsFor: z.string().regex(namePattern).optional(),
  /** `base prepare`: the only member of this fleet becomes a base image. Then this fleet is removed. */
  prepares: z
    .strictObject({
      /** Name of that base image. */
      image: z.string().regex(namePattern),
      /** The preparation failed, and the user wants to look into the VM. */
      kept: z.boolean(),
    })
    .optional(),
  /** Bytes of a fresh overlay on this disk, which do not count as drift. */
  freshOverlayBytes: z.number().int().nonnegative(),
  members: z.array(
    z.strictObject({
      index: z.number().int().positive(),
      name: z.string(),
      uuid: z.uuid(),
      macs: z.array(z.string()),
      /** IPv4 address reserved for the member on its libvirt network. */
      address: z.ipv4().optional(),
      /** Port of 127.0.0.1 that is forwarded to the member's port 22. */
      sshPort: z.number().int().min(1).max(65_535).optional(),
      /** Base image of its first disk, if not the fleet's: during a rebase. */
      base: baseRefSchema.optional(),
    }),
  ),
});
export type FleetRecord = z.infer<typeof fleetRecordSchema>;

/** The base image of a member's first disk. */
export function baseOf(record: Pick<FleetRecord, 'base'>, member: { base?: BaseRef | undefined }): BaseRef {
  return member.base ?? record.base;
}

/** Every base image that the fleet uses, each once; the fleet's own comes first. */
export function basesOf({ base, members, spec }: Pick<FleetRecord, 'base' | 'members' | 'spec'>): BaseRef[] {
  const all = [base, ...members.flatMap((member) => member.base ?? []), ...spec.disks.flatMap((disk) => disk.base ?? [])];
  return [...new Map(all.map((ref) => [`${ref.name}@${ref.digest}`, ref])).values()];
}

/** @throws STATE_DAMAGED, also if it is another fleet's record */
export function parseFleetRecord(fleet: string, text: string): FleetRecord {
  const hint = `Run "cowherd status ${fleet} --recover" to rebuild it.`;
  const record = parseState(fleetRecordSchema, fleet, 'fleet.json', text, hint);
  assertRecordOf(fleet, record, 'fleet.json', hint);
  return record;
}

/**
 * A record in a fleet's directory must belong to that fleet, and its members must be derived from its id. Anything else was
 * edited by hand, and would make a command use files and domains of others.
 * @throws STATE_DAMAGED
 */
export function assertRecordOf(fleet: string, record: FleetRecord, file: string, hint: string): void {
  if (record.name !== fleet) {
    throw new CowherdError('STATE_DAMAGED', `${file} of ${fleet} belongs to another fleet, ${record.name}`, {
      hint: `If the directory was renamed, rename it back: ${record.name}. If the file was put there by mistake: ${hint}`,
    });
  }
  const seen = new Set<number>();
  for (const { index, name, uuid } of record.members) {
    const isOwn = name === memberName(fleet, index) && uuid === memberUuid(record.id, index);
    if (isOwn && !seen.has(index)) {
      seen.add(index);
      continue;
    }
    throw new CowherdError(
      'STATE_DAMAGED',
      `${file} of ${fleet} is damaged: ${name} is ${isOwn ? 'listed twice' : `not its member ${index}`}`,
      {
        hint,
      },
    );
  }
}

/**
 * A store may contain fleets of this host and of other platforms. A command that took one for the other would find no member.
 * @param engine name of the platform; undefined: this host
 * @throws BAD_USAGE if the fleet is on another one
 */
export function assertPlace(engine: string | undefined, { name, placement }: Pick<FleetRecord, 'name' | 'placement'>): void {
  if (placement?.engine === engine) return;
  throw new CowherdError('BAD_USAGE', `Fleet ${name} is on ${placementName(placement?.engine)}, not on ${placementName(engine)}`, {
    hint: `${
      placement === undefined
        ? 'Connect to this host: --connect qemu:///system'
        : `Connect to its cloud: --connect ${placement.engine}://CLOUD`
    }. Or name another store: --store DIR`,
  });
}

function placementName(engine: string | undefined): string {
  return engine === undefined ? 'this host' : `a cloud (${engine})`;
}

/** @throws STATE_DAMAGED, naming the file and the first finding */
export function parseState<T>(schema: z.ZodType<T>, fleet: string, file: string, text: string, hint: string): T {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new CowherdError('STATE_DAMAGED', `${file} of ${fleet} is damaged: it is not JSON`, { hint, cause });
  }
  const result = schema.safeParse(document);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new CowherdError('STATE_DAMAGED', `${file} of ${fleet} is damaged: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`, {
      hint,
    });
  }
  return result.data;
}

/** Members 1 to count, and recorded ones beyond it. @param nics network interfaces of each */
export function growMembers(
  fleet: string,
  fleetId: string,
  recorded: readonly MemberIdentity[],
  count: number,
  nics = 1,
): MemberIdentity[] {
  const byIndex = new Map(recorded.map((member) => [member.index, member]));
  for (let index = 1; index <= count; index++) {
    if (!byIndex.has(index)) byIndex.set(index, memberIdentity(fleet, fleetId, index, nics));
  }
  return [...byIndex.values()].sort((a, b) => a.index - b.index);
}
