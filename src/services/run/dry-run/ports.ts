import { type BaseImage, parseBaseRef } from '../../../core/image/base.js';
import { baseKey } from '../../../core/image/base-chain.js';
import type { BaseStore, ImportPreview } from '../../../ports/bases.js';
import type { Ports } from '../../../ports/index.js';

/** Base images that earlier dry runs of this process would have imported: several fleets of a fleet file may share them. */
const previewed = new WeakMap<BaseStore, Map<string, BaseImage>>();

/** Ports for a dry run: images to import are read in place and then count as base images, no lock is taken, and results of the accelerator probe are not stored.
 */
export function dryPorts(ports: Ports): Ports {
  const { accelerator } = ports;
  return {
    ...ports,
    bases: dryBases(ports.bases),
    accelerator: {
      choose: (question, options) => accelerator.choose(question, { ...options, isKept: false }),
      refute: (question, choice, why) => accelerator.refute(question, choice, why, { isKept: false }),
    },
  };
}

function dryBases(bases: BaseStore): BaseStore {
  const planned = previewed.get(bases) ?? new Map<string, BaseImage>();
  previewed.set(bases, planned);
  const overrides: Partial<BaseStore> = {
    import: async (request): Promise<ImportPreview> => {
      const preview = await bases.preview(request);
      if (preview.how !== 'already there') planned.set(baseKey(preview.base), preview.base);
      return preview;
    },
    find: async (ref) => {
      const { name, digest } = parseBaseRef(ref);
      const meant = [...planned.values()].filter((base) => (name === undefined || base.name === name) && base.digest.startsWith(digest));
      return meant.at(-1) ?? bases.find(ref);
    },
    get: async (ref) => planned.get(baseKey(ref)) ?? bases.get(ref),
    seal: async (layer) => planned.get(baseKey(layer))?.seal ?? bases.seal(layer),
    // Take no lock, since it is a file of the store.
    locked: (work) => work(),
  };
  return new Proxy(bases, {
    get: (target, key) => {
      const own = Reflect.get(overrides, key);
      if (own !== undefined) return own;
      const value = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
