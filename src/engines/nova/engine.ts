import type { Engine } from '../../services/engine/engine.js';
import { findTargets } from '../../services/fleet/targets.js';
import { openCloud } from './cloud.js';
import type { NovaContext, NovaPorts } from './context.js';
import type { CloudSettings } from './core/settings.js';
import { openStack } from './declaration.js';
import type { RequestEvent } from './http/retrier.js';
import { novaBases } from './verbs/bases.js';
import { guestCommands } from './verbs/guests.js';
import { logs } from './verbs/logs.js';
import { power } from './verbs/power.js';
import { promote } from './verbs/promote.js';
import { rebase } from './verbs/rebase.js';
import { recover } from './verbs/recover.js';
import { report } from './verbs/report.js';
import { reset } from './verbs/reset.js';
import { resume } from './verbs/resume.js';
import { spawn } from './verbs/spawn.js';
import { listFleets, status } from './verbs/status.js';
import { teardown, teardownLoss } from './verbs/teardown.js';
import { verify } from './verbs/verify.js';

export interface NovaOptions {
  settings: CloudSettings;
  /** `openstack://CLOUD` or `openstack:///` */
  uri: string;
  /** Requests in flight at most. Default: 8. */
  concurrency?: number | undefined;
  onRequest?: (event: RequestEvent) => void;
}

/** Fleets of servers of OpenStack Nova. Nothing is sent before the first call. */
export async function openNova({ settings, uri, concurrency, onRequest }: NovaOptions, ports: NovaPorts): Promise<Engine> {
  const cloud = await openCloud(settings, {
    clock: ports.clock,
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(onRequest === undefined ? {} : { onRequest }),
  });
  return novaEngine({ cloud, ports, uri, title: settings.title });
}

function novaEngine(context: NovaContext): Engine {
  const { ports, uri, cloud } = context;
  return {
    about: openStack,
    uri,
    root: ports.fleets.root,
    fleetNames: () => ports.fleets.list(),
    findTargets: (words, file) => findTargets(ports, words, file),
    spawn: (options) => spawn(context, options),
    reset: (options) => reset(context, options),
    rebase: (options) => rebase(context, options),
    start: (options) => power(context, 'start', options),
    stop: (options) => power(context, 'stop', options),
    teardown: (options) => teardown(context, options),
    resume: (options) => resume(context, options),
    promote: (options) => promote(context, options),
    list: () => listFleets(context),
    status: (fleet) => status(context, fleet),
    recover: (fleet) => recover(context, fleet),
    report: (fleets, options) => report(context, fleets, options),
    teardownLoss: (fleet, members) => teardownLoss(context, fleet, members),
    verify: (options) => verify(context, options),
    ...guestCommands(context),
    logs: (options) => logs(context, options),
    bases: novaBases(context),
    close: async () => cloud.close(),
  };
}
