import prettyBytes from 'pretty-bytes';
import type { MemberMark } from '../fleet/observation.js';
import type { FleetRecord } from '../fleet/record.js';
import { choiceSchema, formatChoice } from '../host/cpu.js';
import { formatOverlay, formerOverlayFormat } from '../image/overlay-format.js';
import { type DomainSpec, domainSpecSchema } from './spec.js';

/** Differences between a member's definition and the spec of its fleet, for display. */

const longestValue = 40;

/**
 * @param mark the spec that the member was defined with, from its domain's metadata
 * @param accelerator the previous accelerator of the fleet
 * @returns one entry for each change, e.g. `memory 128 → 160 MiB`; empty if nothing differs, or if unknown
 */
export function definitionChanges(
  mark: Pick<MemberMark, 'spec' | 'baseName' | 'baseDigest'>,
  accelerator: FleetRecord['accelerator'],
  record: Pick<FleetRecord, 'spec' | 'accelerator'>,
): string[] {
  const before = specIn(mark.spec);
  if (before === undefined) return [];
  const [was, is] = [accelerator, record.accelerator].map((choice) =>
    choice === undefined ? undefined : formatChoice(choiceSchema.parse(choice)),
  );
  const moved = was !== undefined && is !== undefined && was !== is ? [`accelerator ${was} → ${is}`] : [];
  return [...specChanges(before, record.spec), ...moved];
}

/** A note for the case that the format of new disks changes: existing disks are not converted. */
export function formatNotes(before: DomainSpec | undefined, after: DomainSpec): string[] {
  const [was, is] = [before, after].map((spec) => formatOverlay(spec?.overlay ?? formerOverlayFormat));
  if (before === undefined || was === is) return [];
  return [`new disks have ${is}; existing ones keep their format until a reset`];
}

function specIn(text: string): DomainSpec | undefined {
  try {
    return domainSpecSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

const labels: Partial<Record<keyof DomainSpec, string>> = {
  vcpus: 'vCPUs',
  virtType: 'accelerator',
  cpu: 'CPU',
  network: 'network',
  diskCache: 'disk cache',
  lean: 'lean',
  seed: 'seed',
  sshUser: 'ssh user',
  forwardSsh: 'forward ssh',
  firmware: 'firmware',
  tpm: 'TPM',
  nics: 'network cards',
};

const sources: Partial<Record<keyof DomainSpec, string>> = {
  template: 'domain template',
  userData: 'user-data',
  metaData: 'meta-data',
  networkConfig: 'network-config',
  nvram: 'NVRAM',
  warm: 'memory',
};

function specChanges(before: DomainSpec, after: DomainSpec): string[] {
  const changes: string[] = [];
  if (before.memoryMiB !== after.memoryMiB) changes.push(`memory ${before.memoryMiB} → ${after.memoryMiB} MiB`);
  if (before.rootBytes !== after.rootBytes) changes.push(`root disk ${sizeOf(before.rootBytes)} → ${sizeOf(after.rootBytes)}`);
  const [was, is] = [before, after].map(({ overlay = formerOverlayFormat }) => formatOverlay(overlay));
  if (was !== is) changes.push(`format of new disks ${was} → ${is}`);
  for (const [key, label] of entriesOf(labels))
    if (before[key] !== after[key]) changes.push(`${label} ${shown(before[key])} → ${shown(after[key])}`);
  for (const [key, label] of entriesOf(sources))
    if (before[key] !== after[key]) changes.push(`${label} ${became(before[key], after[key])}`);
  for (const name of new Set([...Object.keys(before.variables), ...Object.keys(after.variables)])) {
    const [was, is] = [before.variables[name], after.variables[name]];
    if (was !== is) changes.push(`variable ${name} ${shown(was)} → ${shown(is)}`);
  }
  if (before.sshKeys.join() !== after.sshKeys.join()) changes.push(`ssh keys ${before.sshKeys.length} → ${after.sshKeys.length}`);
  return [...changes, ...diskChanges(before.disks, after.disks)];
}

function diskChanges(before: DomainSpec['disks'], after: DomainSpec['disks']): string[] {
  return after.flatMap(({ name, bus }) => {
    const known = before.find((disk) => disk.name === name);
    if (known === undefined) return [`disk ${name} added`];
    return known.bus === bus ? [] : [`bus of disk ${name} ${known.bus} → ${bus}`];
  });
}

function sizeOf(bytes: number | undefined): string {
  return bytes === undefined ? 'of the base image' : prettyBytes(bytes, { binary: true });
}

function became(before: unknown, after: unknown): string {
  return before === undefined ? 'set' : after === undefined ? 'reset to the built-in one' : 'changed';
}

/** Values of variables may be long and contain line breaks. */
function shown(value: unknown): string {
  if (value === undefined) return 'default';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  const text = String(value).replace(/\s+/g, ' ');
  return text.length > longestValue ? `${text.slice(0, longestValue)}…` : text;
}

function entriesOf<K extends keyof DomainSpec>(record: Partial<Record<K, string>>): Array<[K, string]> {
  return Object.entries(record) as Array<[K, string]>;
}
