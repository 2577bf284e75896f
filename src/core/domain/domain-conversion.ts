import { attribute, element, type XmlElement } from './xml-tree.js';

/** Word boundaries, so that a name is not replaced within a longer word. */
export function splitAtWord(text: string, word: string): string[] {
  const isJoined = (character: string | undefined): boolean => character !== undefined && /[\p{L}\p{N}_-]/u.test(character);
  const parts: string[] = [];
  let from = 0;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const end = at + word.length;
    if (at < from || isJoined([...text.slice(Math.max(0, at - 2), at)].at(-1)) || isJoined([...text.slice(end, end + 2)][0])) continue;
    parts.push(text.slice(from, at));
    from = end;
  }
  return [...parts, text.slice(from)];
}

/** The cloud-init seed as an additional disk. */
export function seedDisk(target: string): string {
  return `{{#if seed.nocloud}}<disk type="file" device="disk"><driver name="qemu" type="raw" cache="writeback"/><source file="{{seed.path}}"/><target dev="${target}" bus="virtio"/><readonly/></disk>{{/if}}`;
}

export function freeTarget(disks: readonly XmlElement[]): string {
  const taken = new Set(disks.map((disk) => attribute(element(disk, 'target'), 'dev')));
  return [...'zyxwvutsrqponmlkjihgfedcb'].map((letter) => `vd${letter}`).find((target) => !taken.has(target)) ?? 'vdaa';
}

export function networkOf(nic: XmlElement | undefined): string {
  const type = attribute(nic, 'type');
  const source = element(nic, 'source');
  const name = attribute(source, type === 'network' ? 'network' : 'bridge') ?? '';
  if (type === 'user') return 'user';
  return (type === 'network' || type === 'bridge') && /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name) ? `${type}=${name}` : 'none';
}

const units: Record<string, number> = {
  b: 1 / 1024,
  bytes: 1 / 1024,
  kb: 1000 / 1024,
  k: 1,
  kib: 1,
  mb: 1e6 / 1024,
  m: 1024,
  mib: 1024,
  gb: 1e9 / 1024,
  g: 1024 ** 2,
  gib: 1024 ** 2,
  tb: 1e12 / 1024,
  t: 1024 ** 3,
  tib: 1024 ** 3,
};

export function kibOf(unit: string | undefined): number {
  return units[(unit ?? 'KiB').toLowerCase()] ?? Number.NaN;
}
