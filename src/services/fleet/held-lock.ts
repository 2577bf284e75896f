import type { Ports } from '../../ports/index.js';

/**
 * Runs work of several services that lock the same fleet, as one: no other run changes the fleet in between.
 * @param work gets ports with which a lock on this fleet counts as taken
 * @param options.waitSeconds how long to wait for another run, unless the user has said so
 * @throws LOCKED
 */
export async function holdingFleet<T>(
  ports: Ports,
  fleet: string,
  work: (held: Ports) => Promise<T>,
  options: { waitSeconds?: number } = {},
): Promise<T> {
  const lock = await ports.fleets.lock(fleet, options);
  try {
    return await work({ ...ports, fleets: holding(ports.fleets, fleet) });
  } finally {
    await lock.release();
  }
}

function holding(fleets: Ports['fleets'], fleet: string): Ports['fleets'] {
  const lock: Ports['fleets']['lock'] = async (name, options) =>
    name === fleet ? { release: async () => undefined } : fleets.lock(name, options);
  return new Proxy(fleets, {
    get: (target, key) => {
      if (key === 'lock') return lock;
      const value = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
