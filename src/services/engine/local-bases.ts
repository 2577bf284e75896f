import type { Ports } from '../../ports/index.js';
import { addBase, inspectBase, listBases, removeBase } from '../base/bases.js';
import { pruneBases } from '../base/prune.js';
import { verifyBase } from '../base/verify.js';
import type { EngineBases } from './engine.js';

export function localBases(ports: Ports): EngineBases {
  return {
    list: () => listBases(ports),
    add: (request, options) => addBase(ports, request, options),
    inspect: (ref) => inspectBase(ports, ref),
    verify: (ref, options) => verifyBase(ports, ref, options),
    remove: (ref, options) => removeBase(ports, ref, undefined, options),
    prune: (options) => pruneBases(ports, options),
  };
}
