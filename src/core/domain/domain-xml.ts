import { createHash } from 'node:crypto';
import { normalize } from 'node:path';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { CowherdError } from '../errors.js';
import type { MemberIdentity } from '../fleet/identity.js';
import type { MemberMark } from '../fleet/observation.js';
import { baseOf, type FleetRecord } from '../fleet/record.js';
import { cpuParts } from '../host/cpu.js';
import type { BaseImage } from '../image/base.js';
import { escapeXml } from '../quoting.js';
import { formatSpec } from '../spec/spec-text.js';

export const metadataNamespace = 'urn:cowherd:domain:1';

// Values stay strings (a name "007" is not a number); repeatable elements are always arrays.
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  removeNSPrefix: true,
  parseTagValue: false,
  parseAttributeValue: false,
  htmlEntities: true,
  isArray: (_name, path) => typeof path === 'string' && /^domain\.devices\.\w+$/.test(path),
});

type XmlNode = { [key: string]: XmlNode | XmlNode[] | string | undefined };

const definitionPlaceholder = '@definition@';

/** The `<metadata>` content of one member. The definition's digest is a placeholder until {@link sealDefinition}. */
export function memberMetadata(record: FleetRecord, member: MemberIdentity): string {
  const base = baseOf(record, member);
  const attributes = {
    version: '1',
    fleet: record.name,
    fleetId: record.id,
    index: String(member.index),
    baseName: base.name,
    base: `sha256:${base.digest}`,
    definition: definitionPlaceholder,
  };
  const written = Object.entries(attributes).map(([key, value]) => `${key}="${escapeXml(value)}"`);
  const spec = escapeXml(formatSpec(record.spec));
  return `<cowherd:member xmlns:cowherd="${metadataNamespace}" ${written.join(' ')}><cowherd:spec>${spec}</cowherd:spec></cowherd:member>`;
}

export interface MemberDefinition {
  xml: string;
  /** First 16 hex digits of the sha256 of the XML, recorded in the metadata to detect changes. */
  definition: string;
}

/** Inserts the digest of a rendered domain into its metadata. */
export function sealDefinition(rendered: string): MemberDefinition {
  const definition = createHash('sha256').update(rendered).digest('hex').slice(0, 16);
  return { xml: rendered.replaceAll(definitionPlaceholder, definition), definition };
}

/** Reads the output of `virsh metadata`. @returns undefined if it is not cowherd's or incomplete */
export function parseMemberMark(xml: string): MemberMark | undefined {
  if (XMLValidator.validate(xml) !== true) return undefined;
  const member = child(parser.parse(xml) as XmlNode, 'member');
  return member === undefined ? undefined : markOf(member);
}

function markOf(member: XmlNode): MemberMark | undefined {
  const index = Number(text(member['@index']));
  const base = /^sha256:([0-9a-f]{64})$/.exec(text(member['@base']));
  if (!Number.isInteger(index) || index < 1 || base === null) return undefined;
  return {
    fleet: text(member['@fleet']),
    fleetId: text(member['@fleetId']),
    index,
    baseName: text(member['@baseName']),
    baseDigest: base[1] ?? '',
    definition: text(member['@definition']),
    spec: text(member.spec),
  };
}

/** Whether a domain as libvirt prints it has a file as a disk. Searches the text, since parsing a thousand domains is slow. */
export function hasDisk(xml: string, path: string): boolean {
  const asAttribute = printedAttribute(path);
  // libvirt prints a disk's source before its backing chain.
  const ownParts = xml
    .split('<disk ')
    .slice(1)
    .map((disk) => disk.split('<backingStore', 1)[0] ?? '');
  return ownParts.some((part) => part.includes(`<source file='${asAttribute}'`));
}

/** A value as libvirt prints it in an attribute. */
export function printedAttribute(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll("'", '&apos;').replaceAll('"', '&quot;');
}

/** The complete backing chain of a disk for libvirt, so that it never probes one. */
export function backingXml(base: Pick<BaseImage, 'path' | 'format' | 'backing'>): string {
  const chain = [base, ...base.backing];
  // Otherwise libvirt would change the owner of the shared base image at every start and stop.
  const open = chain.map(
    ({ path, format }) =>
      `<backingStore type="file"><format type="${format}"/><source file="${escapeXml(path)}"><seclabel model="dac" relabel="no"/></source>`,
  );
  return `${open.join('')}<backingStore/>${'</backingStore>'.repeat(chain.length)}`;
}

export interface ExpectedDisk {
  path: string;
  /** Its base image; undefined for a blank disk. */
  base: Pick<BaseImage, 'path' | 'format' | 'backing'> | undefined;
}

export interface ExpectedDomain {
  record: FleetRecord;
  member: MemberIdentity;
  /** The member's disks, the overlay first. */
  disks: readonly ExpectedDisk[];
  /** Other files of the store that the domain may use: the seed and the NVRAM. */
  seedPath: string;
  nvramPath: string;
  /** Ports of this host that the rendered domain forwards to its ssh. */
  forwardedPorts: readonly number[];
  storeRoot: string;
}

/**
 * Checks that a rendered template is a domain for exactly this member: well-formed, its name, UUID and mark, one
 * overlay with explicit formats and a terminated backing chain, and no other files of the store.
 * @throws BAD_TEMPLATE, one detail per finding
 */
export function assertRenderedDomain(xml: string, expected: ExpectedDomain): void {
  const problems: string[] = [];
  const wellFormed = XMLValidator.validate(xml);
  if (wellFormed !== true) {
    problems.push(`not well-formed at line ${wellFormed.err.line}: ${wellFormed.err.msg}`);
  } else if (/<!DOCTYPE/i.test(xml)) {
    problems.push('it has a document type declaration');
  } else {
    problems.push(...domainProblems(parser.parse(xml) as XmlNode, expected));
  }
  if (problems.length > 0) {
    throw new CowherdError('BAD_TEMPLATE', `The template does not produce a valid domain for ${expected.member.name}`, {
      details: problems,
      hint: 'Correct it. To start from a working template: cowherd template eject',
    });
  }
}

function domainProblems(document: XmlNode, expected: ExpectedDomain): string[] {
  const { record, member } = expected;
  const domain = child(document, 'domain');
  if (domain === undefined) return ['its root is not <domain>'];
  const problems: string[] = [];
  const expectText = (what: string, seen: string, wanted: string): void => {
    if (seen !== wanted) problems.push(`${what} is ${JSON.stringify(seen)}, not ${JSON.stringify(wanted)}`);
  };
  expectText('<name>', text(domain.name), member.name);
  expectText('<uuid>', text(domain.uuid), member.uuid);

  const marked = child(child(domain, 'metadata'), 'member');
  const mark = marked === undefined ? undefined : markOf(marked);
  if (mark === undefined) {
    problems.push("<metadata> lacks cowherd's mark: keep {{{metadata}}} in the template");
  } else if (mark.fleetId !== record.id || mark.index !== member.index || mark.baseDigest !== baseOf(record, member).digest) {
    problems.push("<metadata> has another member's mark: keep {{{metadata}}} in the template");
  }

  problems.push(...diskProblems(list(child(domain, 'devices')?.disk), expected));
  if (member.sshPort !== undefined && !expected.forwardedPorts.includes(member.sshPort))
    problems.push(`port ${member.sshPort} is not forwarded: the template does not use {{sshPort}}; pass --no-forward-ssh`);
  if (record.spec.cpu !== undefined) problems.push(...cpuProblems(child(domain, 'cpu'), record.spec.cpu));
  const nvram = text(child(domain, 'os')?.nvram);
  if (nvram !== '' && nvram !== expected.nvramPath)
    problems.push(`<nvram> is ${nvram}, which members would share: write <nvram>{{nvram}}</nvram>, or leave it out`);
  return problems;
}

/** A template may set its own CPU, and then --cpu has no effect. */
function cpuProblems(seen: XmlNode | undefined, asked: string): string[] {
  const { mode, model = '' } = cpuParts(asked);
  if (text(seen?.['@mode']) === mode && text(seen?.model) === model) return [];
  return [`<cpu> is not the CPU ${asked} that was asked for: write {{{cpu}}} in its place, or leave --cpu out`];
}

function diskProblems(seen: readonly XmlNode[], { disks, seedPath, storeRoot }: ExpectedDomain): string[] {
  const problems: string[] = [];
  const sourceOf = (disk: XmlNode): string => text(child(disk, 'source')?.['@file']);
  for (const [position, { path, base }] of disks.entries()) {
    const what = position === 0 ? 'the overlay' : path;
    const own = seen.filter((disk) => sourceOf(disk) === path);
    if (own.length !== 1) {
      const variable = position === 0 ? 'overlay' : `disks.[${position - 1}].path`;
      problems.push(`${own.length} disks have ${what} as their source, not 1: keep <source file="{{${variable}}}"/>`);
    }
    for (const disk of own) {
      const type = text(child(disk, 'driver')?.['@type']);
      if (type !== 'qcow2') problems.push(`the driver type of ${what} is ${JSON.stringify(type)}, not "qcow2"`);
      problems.push(...backingProblems(disk.backingStore, base === undefined ? [] : [base, ...base.backing]));
    }
  }
  const bases = disks.flatMap(({ base }) => (base === undefined ? [] : [base, ...base.backing])).map((base) => normalize(base.path));
  const allowed = [...disks.map((disk) => disk.path), seedPath].map(normalize);
  for (const disk of seen) {
    const source = normalize(sourceOf(disk));
    if (bases.includes(source)) problems.push('a disk has the base image itself as its source');
    else if (!allowed.includes(source) && source.startsWith(`${normalize(storeRoot)}/`))
      problems.push(`a disk has another file of the store as its source: ${source}`);
  }
  return problems;
}

/** Compares a chain of `<backingStore>`s with the disk's base image. */
function backingProblems(
  node: XmlNode | XmlNode[] | string | undefined,
  chain: ReadonlyArray<Pick<BaseImage, 'path' | 'format'>>,
): string[] {
  const [base, ...rest] = chain;
  if (base === undefined)
    return node === '' ? [] : ['the backing chain is not terminated: put <backingStore/> at its end, or use {{{backing}}} for all of it'];
  const backing = typeof node === 'object' && !Array.isArray(node) ? node : undefined;
  const problems: string[] = [];
  const expectText = (what: string, seen: string, wanted: string): void => {
    if (seen !== wanted) problems.push(`${what} is ${JSON.stringify(seen)}, not ${JSON.stringify(wanted)}`);
  };
  expectText('the backing file', text(child(backing, 'source')?.['@file']), base.path);
  expectText('the format of the backing file', text(child(backing, 'format')?.['@type']), base.format);
  return problems.length > 0 ? problems : backingProblems(backing?.backingStore, rest);
}

function child(node: XmlNode | undefined, name: string): XmlNode | undefined {
  const value = node?.[name];
  const first = Array.isArray(value) ? value[0] : value;
  return typeof first === 'object' ? first : undefined;
}

function list(value: XmlNode | XmlNode[] | string | undefined): XmlNode[] {
  if (Array.isArray(value)) return value;
  return typeof value === 'object' ? [value] : [];
}

function text(value: XmlNode | XmlNode[] | string | undefined): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && !Array.isArray(value)) return text(value['#text']);
  return '';
}
