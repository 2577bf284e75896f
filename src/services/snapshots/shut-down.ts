import { CowherdError } from '../../core/errors.js';
import { isOn } from '../../core/observation.js';
import type { Ports } from '../../ports.js';
import { isAborted } from '../engine.js';
import { defaultShutdownMs } from '../power.js';
import type { SnapshotOptions, SnapshotSight } from './access.js';

const pollMs = 250;

export async function isDomainOn(ports: Ports, { domain }: SnapshotSight): Promise<boolean> {
  return isOn((await ports.hypervisor.listDomains()).find(({ uuid }) => uuid === domain.uuid));
}

/** Asks a guest to shut down, and waits. @throws NOT_STOPPED, INTERRUPTED */
export async function shutDown(ports: Ports, sight: SnapshotSight, options: SnapshotOptions): Promise<void> {
  if (!(await isDomainOn(ports, sight))) return;
  const { handle, domain } = sight;
  const { force = false, timeoutMs = defaultShutdownMs, signal, onProgress } = options;
  onProgress?.({ kind: 'note', text: `Shutting down ${domain.name}` });
  const deadline = ports.clock.monotonic() + timeoutMs;
  await ports.hypervisor.shutdown(handle).catch((error: unknown) => {
    // Whoever cannot even be asked is waited for like one that does not listen, if force is allowed.
    if (!force) throw error;
  });
  while (await isDomainOn(ports, sight)) {
    if (isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted while ${domain.name} was shutting down`);
    if (ports.clock.monotonic() >= deadline) {
      if (force) return ports.hypervisor.destroy(handle);
      throw new CowherdError('NOT_STOPPED', `${domain.name} did not shut down within ${timeoutMs / 1000} s`, {
        hint: 'Its guest may ignore the power button. Give it longer with --timeout, or end it with --force.',
      });
    }
    await ports.clock.sleep(pollMs, signal);
  }
}
