import { randomBytes } from 'node:crypto';
import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import {
  clientKey,
  compileSeed,
  type FleetSecrets,
  hostKey,
  newInstanceId,
  type Seed,
  type SeedSources,
  type SeedTemplate,
} from '../../core/guest/seed.js';
import { isPublicKey } from '../../core/guest/ssh-keys.js';
import type { SourceKind } from '../../core/spec/spec.js';
import type { PlacedSeed, Ports } from '../../ports/index.js';
import { builtInOrigin, sha256 } from '../fleet/spawn/input/definitions.js';
import { paced } from '../run/pace.js';

/** Contents of the members' seeds, and which of them must be written. */

type SeedKind = Exclude<SourceKind, 'template'>;

/** Paths of templates that the user named. */
export type SeedFiles = Partial<Record<SeedKind, string | undefined>>;

/** The templates of a fleet's seeds, with the digests of its own ones. */
export interface LoadedSeeds {
  sources: SeedSources;
  /** Digests of the fleet's own templates. */
  digests: Partial<Record<SeedKind, string>>;
}

/** Reads .pub files. @returns undefined if none is given, so that recorded keys stay */
export async function readPublicKeys(ports: Pick<Ports, 'readFile'>, paths: readonly string[] | undefined): Promise<string[] | undefined> {
  if (paths === undefined || paths.length === 0) return undefined;
  const keys: string[] = [];
  for (const path of paths) {
    const lines = (await ports.readFile(path)).split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'));
    const wrong = lines.length === 0 || lines.some((line) => !isPublicKey(line));
    if (wrong) {
      throw new CowherdError('BAD_USAGE', `${path} does not contain ssh public keys`, {
        hint: lines.some((line) => line.includes('PRIVATE KEY'))
          ? `That is the private key. Use ${path}.pub.`
          : 'Use the .pub file that ssh-keygen created.',
      });
    }
    keys.push(...lines);
  }
  return keys;
}

/** Values that start with @ are read from the named file, without the final line break. */
export async function readSecretValues(
  ports: Pick<Ports, 'readFile'>,
  words: Readonly<Record<string, string>> | undefined,
): Promise<Record<string, string> | undefined> {
  if (words === undefined) return undefined;
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(words))
    values[name] = value.startsWith('@') ? (await ports.readFile(value.slice(1))).replace(/\r?\n$/, '') : value;
  return values;
}

type SeedPorts = Pick<Ports, 'readFile' | 'fleets' | 'builtInTemplate'>;

/** @param files new templates; default: the fleet's own, otherwise the built-in ones */
export async function loadSeedSources(
  ports: SeedPorts,
  record: Pick<FleetRecord, 'name' | 'spec'> | undefined,
  files: SeedFiles = {},
): Promise<LoadedSeeds> {
  const digests: LoadedSeeds['digests'] = {};
  const own = async (kind: SeedKind): Promise<SeedTemplate | undefined> => {
    const path = files[kind];
    if (path !== undefined) {
      const text = await ports.readFile(path);
      digests[kind] = sha256(text);
      return { text, origin: path };
    }
    // One takes the place of the other.
    if ((kind === 'userData' && files.userDataRaw !== undefined) || (kind === 'userDataRaw' && files.userData !== undefined))
      return undefined;
    const digest = record?.spec[kind];
    if (record === undefined || digest === undefined) return undefined;
    const text = await ports.fleets.readSource(record.name, kind, digest);
    if (text === undefined || sha256(text) !== digest) {
      throw new CowherdError('STATE_DAMAGED', `The ${kind} of fleet ${record.name} ${text === undefined ? 'is missing' : 'has changed'}`, {
        hint: `Provide it again: cowherd spawn ${record.name} ${flagOf[kind]} FILE`,
      });
    }
    digests[kind] = digest;
    return { text, origin: `of fleet ${record.name}` };
  };
  const builtIn = async (name: 'user-data' | 'meta-data'): Promise<SeedTemplate> => ({
    text: await ports.builtInTemplate(name),
    origin: builtInOrigin,
  });
  if (files.userData !== undefined && files.userDataRaw !== undefined) {
    throw new CowherdError('BAD_USAGE', 'userData and userDataRaw cannot be used together', { hint: 'Omit one of them.' });
  }
  const raw = await own('userDataRaw');
  const sources = {
    userData: (raw && { ...raw, isRaw: true }) ?? (await own('userData')) ?? (await builtIn('user-data')),
    metaData: (await own('metaData')) ?? (await builtIn('meta-data')),
    networkConfig: await own('networkConfig'),
  };
  return { sources, digests };
}

const flagOf: Record<SeedKind, string> = {
  userData: '--user-data',
  userDataRaw: '--user-data-raw',
  metaData: '--meta-data',
  networkConfig: '--network-config',
};

/** The fleet's secrets with values added; generated if the fleet has none yet. Nothing is written.
 * @param recorded the existing fleet; undefined for a new one
 * @throws STATE_DAMAGED if they are lost: with new ones, logins to existing members would fail
 */
export async function composeSecrets(
  ports: Pick<Ports, 'seeds'>,
  recorded: Pick<FleetRecord, 'name' | 'spec'>,
  values: FleetSecrets['values'] | undefined,
  isNew = false,
): Promise<FleetSecrets> {
  const kept = await ports.seeds.readSecrets(recorded.name);
  if (kept === undefined && !isNew && recorded.spec.seed === 'nocloud') {
    throw new CowherdError('STATE_DAMAGED', `The secrets of fleet ${recorded.name} are missing (secrets.json)`, {
      hint: `Its ssh keys are derived from them. Restore the file, or start over: cowherd spawn ${recorded.name} --seed none, then --seed nocloud, then a reset.`,
    });
  }
  return { key: kept?.key ?? randomBytes(32), values: { ...kept?.values, ...values } };
}

/** Renders the seeds of members.
 * @param instanceOf the instance-id of each member
 * @throws BAD_TEMPLATE, INTERRUPTED
 */
export async function renderSeeds(
  record: FleetRecord,
  members: readonly MemberIdentity[],
  sources: SeedSources,
  secrets: FleetSecrets,
  instanceOf: (member: MemberIdentity) => string,
  signal?: AbortSignal,
): Promise<Map<string, Seed>> {
  const render = compileSeed(record, sources, secrets);
  const seeds = new Map<string, Seed>();
  const pace = paced(signal);
  for (const member of members) {
    await pace();
    seeds.set(member.name, render(member, instanceOf(member)));
  }
  return seeds;
}

/** The existing instance-id, unless a new instance starts. */
export function instanceIds(
  placed: ReadonlyMap<string, PlacedSeed>,
  token: string,
  isNewInstance: (member: MemberIdentity) => boolean,
): (member: MemberIdentity) => string {
  return (member) => (isNewInstance(member) ? undefined : placed.get(member.name)?.instanceId) ?? newInstanceId(member, token);
}

/** Why a member's seed must be written, in words; undefined if it is up to date. */
export function seedLack(seed: Seed | undefined, placed: PlacedSeed | undefined): string | undefined {
  if (seed === undefined) return undefined;
  if (placed === undefined) return 'no seed';
  return placed.digest === seed.digest ? undefined : 'seed changed';
}

/** Writes the ssh files for logins to the members: the fleet's key and the host keys from their seeds. Without seeds, the guests' own host keys are learned later.
 * @param later members that read their first seed at their next start
 */
export async function writeSshFiles(
  ports: Pick<Ports, 'seeds'>,
  record: FleetRecord,
  secrets: FleetSecrets,
  seeds: ReadonlyMap<string, Seed>,
  later: ReadonlySet<string>,
): Promise<void> {
  const told = record.members.filter(({ name }) => seeds.get(name)?.hasHostKey === true && !later.has(name));
  const hostKeys = new Map(told.map((member) => [member.name, hostKey(secrets, member).publicKey]));
  await ports.seeds.writeSshFiles(record.name, seeds.size === 0 ? undefined : clientKey(secrets).privateKey, hostKeys);
}
