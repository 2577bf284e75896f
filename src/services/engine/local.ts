import type { Ports } from '../../ports/index.js';
import type { Engine } from './engine.js';
import { localGuestVerbs } from './local-guests.js';
import { localListings } from './local-listings.js';
import { thisHost } from './this-host.js';

/** This host: libvirt, and the store on its disk. A listing starts quickly, because services that it does not need are not loaded. */
export function localEngine(ports: Ports, close: () => Promise<void>): Engine {
  const onDemand = () => import('./local-on-demand.js');
  const changes = async () => (await onDemand()).localChanges(ports);
  const bases = async () => (await onDemand()).localBases(ports);
  return {
    about: thisHost,
    uri: ports.hypervisor.uri,
    root: ports.fleets.root,
    fleetNames: () => ports.fleets.list(),
    ...localListings(ports),
    ...localGuestVerbs(ports),
    watch: async (fleets, signal) => new (await onDemand()).Changes(ports, fleets, signal),
    spawn: async (options) => (await changes()).spawn(options),
    reset: async (options) => (await changes()).reset(options),
    rebase: async (options) => (await changes()).rebase(options),
    start: async (options) => (await changes()).start(options),
    stop: async (options) => (await changes()).stop(options),
    teardown: async (options) => (await changes()).teardown(options),
    teardownLoss: async (fleet, members) => (await changes()).teardownLoss(fleet, members),
    resume: async (options) => (await changes()).resume(options),
    promote: async (options) => (await changes()).promote(options),
    recover: async (fleet) => (await changes()).recover(fleet),
    verify: async (options) => (await changes()).verify(options),
    bases: {
      list: async () => (await bases()).list(),
      add: async (request, options) => (await bases()).add(request, options),
      inspect: async (ref) => (await bases()).inspect(ref),
      verify: async (ref, options) => (await bases()).verify(ref, options),
      remove: async (ref, options) => (await bases()).remove(ref, options),
      prune: async (options) => (await bases()).prune(options),
    },
    close,
  };
}
