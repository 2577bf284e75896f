import { createHmac } from 'node:crypto';
import { compileTemplate, memberContext } from '../domain/template.js';
import { CowherdError } from '../errors.js';
import type { MemberIdentity } from '../fleet/identity.js';
import type { FleetRecord } from '../fleet/record.js';
import { readYaml } from '../spec/yaml-document.js';
import { deriveSshKey, type SshKeyPair } from './ssh-keys.js';

/** The cloud-init NoCloud seed of a member: its identity, as files of an ISO with the volume id `cidata`. */

/** Secrets for the guests: in one private file, and in no record, domain or listing. */
export interface FleetSecrets {
  /** Every ssh key of the fleet is derived from it. */
  key: Buffer;
  /** `{{secrets.NAME}}` of the seed templates. */
  values: Record<string, string | number | boolean>;
}

export interface SeedTemplate {
  text: string;
  origin: string;
  /** Not a template: the text is passed to the guest unchanged. */
  isRaw?: boolean;
}

export interface SeedSources {
  userData: SeedTemplate;
  metaData: SeedTemplate;
  /** Without it there is no network-config, and the guest uses its default, DHCP. */
  networkConfig?: SeedTemplate | undefined;
}

export interface Seed {
  instanceId: string;
  /** First 16 hex digits of the HMAC-SHA256 of all files, with the fleet's key. */
  digest: string;
  files: Record<'meta-data' | 'user-data' | 'network-config', string | undefined>;
  /** Whether the seed sets the ssh host key, so that clients know it in advance. */
  hasHostKey: boolean;
}

export type SeedRenderer = (member: MemberIdentity, instanceId: string) => Seed;

/** The client key of the fleet. */
export function clientKey(secrets: FleetSecrets): SshKeyPair {
  return deriveSshKey(secrets.key, 'client');
}

/** The member's host key, permanent like its UUID. */
export function hostKey(secrets: FleetSecrets, member: Pick<MemberIdentity, 'uuid'>): SshKeyPair {
  return deriveSshKey(secrets.key, `host ${member.uuid}`);
}

/** An instance-id; a new token makes cloud-init repeat first-boot work. @param token at least 8 characters, e.g. of an operation's id */
export function newInstanceId(member: Pick<MemberIdentity, 'name'>, token: string): string {
  return `${member.name}-${token.slice(0, 8)}`;
}

/**
 * @throws BAD_TEMPLATE, at once for templates that cannot be parsed, later for a member whose files cloud-init cannot read
 */
export function compileSeed(record: Pick<FleetRecord, 'name' | 'spec'>, sources: SeedSources, secrets: FleetSecrets): SeedRenderer {
  const compile = ({ text, origin, isRaw = false }: SeedTemplate): ((context: object) => string) =>
    isRaw ? () => text : compileTemplate(text, { origin, escape: 'yaml', ejectCommand: 'cowherd template eject --part user-data' });
  const userData = compile(sources.userData);
  const metaData = compile(sources.metaData);
  const networkConfig = sources.networkConfig === undefined ? undefined : compile(sources.networkConfig);
  const authorizedKeys = [`${clientKey(secrets).publicKey} cowherd-${record.name}`, ...record.spec.sshKeys];
  return (member, instanceId) => {
    const key = hostKey(secrets, member);
    const context = {
      ...memberContext(record, member),
      instanceId,
      machineId: member.uuid.replaceAll('-', ''),
      sshUser: record.spec.sshUser,
      sshAuthorizedKeys: authorizedKeys,
      sshHostKey: { private: key.privateKey, public: key.publicKey },
      secrets: secrets.values,
    };
    const files = {
      'meta-data': metaData(context),
      'user-data': userData(context),
      'network-config': networkConfig?.(context),
    };
    assertMetaData(files['meta-data'], sources.metaData.origin, member, instanceId);
    assertUserData(files['user-data'], sources.userData.origin, member);
    if (files['network-config'] !== undefined)
      assertMapping(files['network-config'], sources.networkConfig?.origin ?? '', 'network-config', member);
    // Keyed, so that it cannot be used to guess passwords.
    const digest = createHmac('sha256', secrets.key).update(JSON.stringify(files)).digest('hex').slice(0, 16);
    // Compares the key's last line of base64, which does not depend on indentation.
    const line = key.privateKey.split('\n').at(-3) ?? key.privateKey;
    return { instanceId, digest, files, hasHostKey: files['user-data'].includes(line) };
  };
}

const covered = '********';

/** Masked secrets, to render a seed for display before {@link coverHostKey}. */
export function coveredValues({ key, values }: FleetSecrets): FleetSecrets {
  return { key, values: Object.fromEntries(Object.keys(values).map((name) => [name, covered])) };
}

/** The same seed with its private keys masked. */
export function coverHostKey(seed: Seed): Seed {
  const cover = (text: string): string => text.replace(/(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(-----END)/g, `$1 ${covered} $2`);
  const files = Object.fromEntries(
    Object.entries(seed.files).map(([name, text]) => [name, text === undefined ? undefined : cover(text)]),
  ) as Seed['files'];
  return { ...seed, files };
}

/** The first lines by which cloud-init recognizes user-data. */
const userDataKinds =
  /^(#!|#cloud-config(-archive)?\s*$|#cloud-boothook\s*$|#include|#part-handler|## template: ?jinja|Content-Type: ?multipart|MIME-Version:)/i;

function assertUserData(text: string, origin: string, member: MemberIdentity): void {
  const head = text.split('\n', 1)[0] ?? '';
  if (!userDataKinds.test(head)) {
    throw new CowherdError('BAD_TEMPLATE', `The user-data of ${member.name} (${origin}) is in no format that cloud-init knows`, {
      hint: 'Begin it with "#cloud-config", or with "#!/bin/sh" for a script.',
    });
  }
  if (/^#cloud-config\s*$/.test(head)) assertMapping(text, origin, 'user-data', member);
}

function assertMetaData(text: string, origin: string, member: MemberIdentity, instanceId: string): void {
  const mapping = assertMapping(text, origin, 'meta-data', member);
  const expected = { 'instance-id': instanceId, 'local-hostname': member.name };
  for (const [key, value] of Object.entries(expected)) {
    // Another host name is a choice; a missing one is a mistake.
    const seen = mapping[key];
    if (seen === value || (key === 'local-hostname' && typeof seen === 'string' && seen !== '')) continue;
    throw new CowherdError('BAD_TEMPLATE', `The meta-data of ${member.name} (${origin}) has no usable ${key}`, {
      details: [seen === undefined ? 'it is missing' : 'it has another value'],
      hint: `Keep the line "${key}: {{json ${key === 'instance-id' ? 'instanceId' : 'name'}}}".`,
    });
  }
}

/** @throws BAD_TEMPLATE with the position but never the text, which may contain passwords */
function assertMapping(text: string, origin: string, what: string, member: MemberIdentity): Record<string, unknown> {
  const refuse = (reason: string): CowherdError =>
    new CowherdError('BAD_TEMPLATE', `The ${what} of ${member.name} (${origin}) is not YAML that cloud-init can read`, {
      details: [reason],
      hint: `Quote values with {{json NAME}}.${what === 'network-config' ? '' : ` To start from a working one: cowherd template eject --part ${what}`}`,
    });
  const { value, problem } = { value: undefined, ...readYaml(text) };
  if (problem !== undefined) throw refuse(`${problem.kind}${problem.place}`);
  // An empty "#cloud-config" is valid.
  if (value === null && what === 'user-data') return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse('it is not a mapping of keys to values');
  return value as Record<string, unknown>;
}
