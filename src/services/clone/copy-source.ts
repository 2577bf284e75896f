import { gzipSync } from 'node:zlib';
import { nicsOf } from '../../core/domain/nics.js';
import type { SourceDisk } from '../../core/domain/template-disks.js';
import { templateFromDomain } from '../../core/domain/template-from-domain.js';
import { attribute, element, parseXml } from '../../core/domain/xml-tree.js';
import { CowherdError } from '../../core/errors.js';
import type { BaseRef } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef, sealDifferences } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import { opensReadOnly, sharingObstacle } from '../../core/memory/sharing.js';
import { baseNameFromFile } from '../../core/names.js';
import type { DiskSpec } from '../../core/spec/spec.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { removeBase } from '../base/bases.js';
import { importBase } from '../fleet/spawn/input/base-input.js';
import type { ReadySpawnOptions } from '../fleet/spawn/input/options.js';
import { assertCloneable, assertUnused, readVariables } from './preflight.js';
import { dropMemory } from './source-vm.js';

/** Copies disks and memory of a frozen source VM to the store. */

/** What is in the store once the source VM may resume. */
export type Taken = NonNullable<Freeze['taken']> & { image: BaseImage };

export type FreezeOptions = ReadySpawnOptions & { count: number };

/** Registers a step that undoes what was added to the store; they run in reverse order. */
type OnUndo = (undo: () => Promise<unknown>) => void;

/**
 * @param name of the source VM, whose managed save is complete
 * @throws BASE_CHANGED if it was resumed meanwhile
 */
export async function copySource(ports: Ports, options: FreezeOptions, name: string, note: Freeze, onUndo: OnUndo): Promise<Taken> {
  const versions = await ports.hypervisor.versions();
  const file = ports.memory.managedSave(name);
  const saved = await ports.disks.seal(file);
  const { xml } = await ports.memory.read(file);
  const source = templateFromDomain(name, xml);
  const { disks, spec } = source;
  assertCloneable(ports, name, xml, source, note);
  const nvram = await readVariables(ports, name, source);
  const { images, imported } = await importDisks(ports, options, name, disks, onUndo);
  const [image] = images;
  if (image === undefined) throw new Error('a template was created from a domain without disks');
  const further = disks.slice(1).map(({ target, bus }, position): DiskSpec => {
    const { name: base, digest } = images[position + 1] ?? image;
    return { name: target, bus, base: { name: base, digest } };
  });
  const facts = {
    takenAt: ports.clock.now().toISOString(),
    domain: name,
    cards: nicsOf(name, xml).map(({ mac, isUp }) => ({ mac, isUp })),
    addresses: note.addresses,
    hostKeyTypes: note.hostKeyTypes,
    memoryMiB: spec.memoryMiB,
    machine: attribute(element(parseXml(xml, name), 'os', 'type'), 'machine') ?? '',
    ...versions,
  };
  return ports.bases.locked(async () => {
    // It has no users yet and may have been removed meanwhile.
    const there = await ports.bases.get(image);
    if (there === undefined)
      throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(image)} was removed by another run`, {
        hint: 'Run this command again.',
      });
    await assertUnused(ports, there, options.fleet);
    onUndo(() => dropMemory(ports, there));
    const obstacle = sharingObstacle(xml, versions.hypervisor);
    const sharing = { bytes: spec.memoryMiB * 2 ** 20, isWritable: !opensReadOnly(versions.hypervisor) };
    const whole = obstacle ?? (await ports.memory.take(there, file, sharing, options.signal));
    if (obstacle !== undefined) await ports.memory.take(there, file, undefined);
    // If it was resumed and saved again meanwhile, its memory does not match the disks.
    const now = await ports.disks.seal(file);
    if (saved === undefined || now === undefined || sealDifferences(saved, now).length > 0) {
      throw new CowherdError('BASE_CHANGED', `${name} was resumed while its disk was read`, {
        hint: 'It was started, or saved again, so its memory and its disk do not match. Run this command again.',
      });
    }
    const taken = {
      base: { name: image.name, digest: image.digest },
      disks: further,
      ...(nvram === undefined ? {} : { nvram: gzipSync(nvram.bytes).toString('base64') }),
      facts: { ...facts, ...(whole === undefined ? {} : { whole }) },
      imported,
      isShared: whole === undefined,
    };
    await ports.memory.beginFreeze(options.fleet, { ...note, taken });
    const { warm: _warm, ...cold } = there;
    return { ...taken, image: cold };
  }, options);
}

/** @returns the base images of its disks, and those of them that are new in the store */
async function importDisks(
  ports: Ports,
  options: FreezeOptions,
  name: string,
  disks: readonly SourceDisk[],
  onUndo: OnUndo,
): Promise<{ images: BaseImage[]; imported: BaseRef[] }> {
  const baseName = baseNameFromFile(`${name}.xml`) ?? 'domain';
  const images: BaseImage[] = [];
  const imported: BaseRef[] = [];
  for (const [position, { target, path, format }] of disks.entries()) {
    const before = new Set((await ports.bases.list()).bases.map(baseKey));
    const diskName = position === 0 ? baseName : `${baseName.slice(0, 34)}-${target}`;
    const { base } = await importBase(ports, path, { ...options, trustChain: true, format, baseName: diskName, isOfClones: true });
    images.push(base);
    if (before.has(baseKey(base))) continue;
    imported.push({ name: base.name, digest: base.digest });
    onUndo(() => removeBase(ports, formatBaseRef(base), options.fleet));
  }
  return { images, imported };
}
