import { join } from 'node:path';
import type { BaseRef } from '../../core/fleet/record.js';
import { shortDigest } from '../../core/image/base.js';
import type { SourceKind } from '../../core/spec/spec.js';

/** Every file name of the store, in one place; docs/store.md explains them. */

export const systemStore = '/var/lib/libvirt/images/cowherd';

export const storeLayout = (root: string) => ({
  bases: join(root, 'bases'),
  basesLock: join(root, 'bases', '.lock'),
  accelerator: join(root, 'accelerator.json'),
  probes: join(root, 'probes'),
  downloads: join(root, 'downloads'),
  fleets: join(root, 'fleets'),
  snapshots: join(root, 'snapshots'),
});

export const unrecordedPrefix = '.unrecorded-';

/** An image that is being written. */
export const partialName = /^\.import-\d+(?:\.ram|\.unpacked)?\.partial$/;

export const baseLayout = (root: string, { name, digest }: BaseRef, format: string) => {
  const directory = join(storeLayout(root).bases, name);
  return {
    directory,
    image: join(directory, `${shortDigest(digest)}.${format}`),
    record: join(directory, `${shortDigest(digest)}.json`),
    /** The memory of a warm base image. */
    memory: join(directory, `${shortDigest(digest)}.memory`),
    /** The part of it that clones map. */
    ram: join(directory, `${shortDigest(digest)}.ram`),
    /** Exists while the image has no record, during an import or a removal. */
    unrecorded: join(directory, `${unrecordedPrefix}${shortDigest(digest)}.${format}`),
  };
};

export const fleetLayout = (root: string, fleet: string) => {
  const directory = join(storeLayout(root).fleets, fleet);
  return {
    directory,
    record: join(directory, 'fleet.json'),
    source: (kind: SourceKind, digest: string) => join(directory, sourceFile(kind, shortDigest(digest))),
    secrets: join(directory, 'secrets.json'),
    freeze: join(directory, 'freeze.json'),
    operation: join(directory, 'operation.json'),
    operationLog: join(directory, 'operation.log'),
    history: join(directory, 'history.jsonl'),
    overlays: join(directory, 'overlays'),
    logs: join(directory, 'logs'),
    nvram: join(directory, 'nvram'),
    /** The initial NVRAM of members. */
    goldenNvram: (digest: string) => join(directory, `nvram-${shortDigest(digest)}.fd`),
    checkpoints: join(directory, 'checkpoints'),
    checkpoint: (member: string) => join(directory, 'checkpoints', member + checkpointEnding),
    /** A file for each member whose disk still has the identity of the source VM. */
    unmade: join(directory, 'unmade'),
    identityPendingMarker: (member: string) => join(directory, 'unmade', member),
    seeds: join(directory, 'seeds'),
    /** A line per placed seed: member, instance-id, digest. The last one of a member counts. */
    seedLog: join(directory, 'seeds', 'placed.log'),
    ssh: join(directory, 'ssh'),
    clientKey: join(directory, 'ssh', 'id_ed25519'),
    /** The host keys that members got from their seeds. */
    knownHosts: join(directory, 'ssh', 'known_hosts'),
    /** A host key that was learned at the first login to a member; removed with its disk. */
    learnedHost: (member: string) => join(directory, 'ssh', `${member}.known_hosts`),
    /** Outside the fleet's directory, which it must outlive. */
    lock: join(storeLayout(root).fleets, `.${fleet}.lock`),
  };
};

/** @param key of a download's URL: see adapters/download/cache.ts */
export const downloadLayout = (root: string, key: string) => {
  const { downloads } = storeLayout(root);
  return { part: join(downloads, `${key}.part`), record: join(downloads, `${key}.json`), lock: join(downloads, `.${key}.lock`) };
};

export type FleetLayout = ReturnType<typeof fleetLayout>;

/** Snapshots of a domain that cowherd did not create. */
export const snapshotLayout = (root: string, uuid: string) => {
  const directory = join(storeLayout(root).snapshots, uuid);
  const level = ({ number, name }: { number: number; name: string }) => join(directory, `${number}-${name}`);
  return {
    directory,
    record: join(directory, 'snapshots.json'),
    journal: join(directory, 'journal.json'),
    level,
    nvram: (of: { number: number; name: string }) => join(level(of), 'nvram'),
    /** Outside the directory, which it must outlive. */
    lock: join(storeLayout(root).snapshots, `.${uuid}.lock`),
  };
};

function sourceFile(kind: SourceKind, digest: string): string {
  if (kind === 'template') return `domain-${digest}.xml.hbs`;
  return `${{ userData: 'user-data', userDataRaw: 'user-data-raw', metaData: 'meta-data', networkConfig: 'network-config' }[kind]}-${digest}.hbs`;
}

export const overlayEnding = '.qcow2';
/** An overlay that is being written; renamed when complete. */
export const partialEnding = '.qcow2.new';
/** A compacted copy of an overlay that is being written. */
export const copyPrefix = '.compact-';
export const logEnding = '.log';
export const nvramEnding = '.fd';
export const checkpointEnding = '.json';
export const seedEnding = '.iso';
export const partialSeedEnding = '.iso.new';
