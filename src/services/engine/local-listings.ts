import type { Ports } from '../../ports/index.js';
import { reportAll, reportOne } from '../fleet/status/report.js';
import { listFleets, status } from '../fleet/status/status.js';
import { findTargets } from '../fleet/targets.js';
import type { Engine } from './engine.js';

export function localListings(ports: Ports): Pick<Engine, 'findTargets' | 'list' | 'status' | 'report'> {
  return {
    findTargets: (words, file) => findTargets(ports, words, file),
    list: () => listFleets(ports),
    status: (fleet, options) => status(ports, fleet, options),
    report: (fleets, { single = false } = {}) => {
      const [only, ...others] = fleets ?? [];
      return single && only !== undefined && others.length === 0 ? reportOne(ports, only) : reportAll(ports, fleets);
    },
  };
}
