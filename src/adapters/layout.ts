import { join } from 'node:path';
import { shortDigest } from '../core/base.js';
import type { BaseRef } from '../core/fleet.js';

/** Every file name of the store, in one place; docs/store.md explains them. */

export const systemStore = '/var/lib/libvirt/images/cowherd';

export const storeLayout = (root: string) => ({
  bases: join(root, 'bases'),
  basesLock: join(root, 'bases', '.lock'),
  accelerator: join(root, 'accelerator.json'),
  probes: join(root, 'probes'),
  fleets: join(root, 'fleets'),
});

export const baseLayout = (root: string, { name, digest }: BaseRef, format: string) => {
  const directory = join(storeLayout(root).bases, name);
  return {
    directory,
    image: join(directory, `${shortDigest(digest)}.${format}`),
    record: join(directory, `${shortDigest(digest)}.json`),
  };
};

export const fleetLayout = (root: string, fleet: string) => {
  const directory = join(storeLayout(root).fleets, fleet);
  return {
    directory,
    record: join(directory, 'fleet.json'),
    template: (digest: string) => join(directory, `domain-${shortDigest(digest)}.xml.hbs`),
    operation: join(directory, 'operation.json'),
    operationLog: join(directory, 'operation.log'),
    overlays: join(directory, 'overlays'),
    logs: join(directory, 'logs'),
    /** Beside the fleet, not in it: it must outlive the fleet's directory. */
    lock: join(storeLayout(root).fleets, `.${fleet}.lock`),
  };
};

export const overlayEnding = '.qcow2';
/** An overlay that is being written; renamed when whole. */
export const partialEnding = '.qcow2.new';
export const logEnding = '.log';
