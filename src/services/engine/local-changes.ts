import type { Ports } from '../../ports/index.js';
import { spawnWithImage } from '../base/prepare/for-spawn.js';
import { promote } from '../base/promote.js';
import { start, stop } from '../fleet/power.js';
import { rebase } from '../fleet/rebase/rebase.js';
import { recoverFleet } from '../fleet/recover.js';
import { reset } from '../fleet/reset/reset.js';
import { resume } from '../fleet/resume.js';
import { teardown } from '../fleet/teardown/teardown.js';
import { teardownLoss } from '../fleet/teardown/teardown-loss.js';
import { verifyStore } from '../verify/verify.js';
import type { Engine } from './engine.js';

type Changing = 'spawn' | 'reset' | 'rebase' | 'start' | 'stop' | 'teardown' | 'teardownLoss' | 'resume' | 'promote' | 'recover' | 'verify';

export function localChanges(ports: Ports): Pick<Engine, Changing> {
  return {
    spawn: (options) => spawnWithImage(ports, options),
    reset: (options) => reset(ports, options),
    rebase: (options) => rebase(ports, options),
    start: (options) => start(ports, options),
    stop: (options) => stop(ports, options),
    teardown: (options) => teardown(ports, options),
    teardownLoss: (fleet, members) => teardownLoss(ports, fleet, members),
    resume: (options) => resume(ports, options),
    promote: (options) => promote(ports, options),
    recover: async (fleet) => void (await recoverFleet(ports, fleet)),
    verify: (options) => verifyStore(ports, options),
  };
}
