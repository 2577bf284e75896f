import { CowherdError } from '../../core/errors.js';
import { isOn } from '../../core/observation.js';
import type { Ports } from '../../ports.js';
import { isAborted } from '../engine.js';
import { askAgainMs, defaultShutdownMs } from '../power.js';
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
  let asked = Number.NEGATIVE_INFINITY;
  while (await isDomainOn(ports, sight)) {
    if (isAborted(signal)) {
      throw new CowherdError('INTERRUPTED', `Interrupted while ${domain.name} was shutting down`, {
        hint: `It has been asked, and may still go off. If it does: virsh start ${domain.name}`,
      });
    }
    if (ports.clock.monotonic() - asked >= askAgainMs) {
      const isFirst = asked === Number.NEGATIVE_INFINITY;
      asked = ports.clock.monotonic();
      await ports.hypervisor.shutdown(handle).catch((error: unknown) => {
        // Whoever cannot even be asked is waited for like one that does not listen, if force is allowed.
        if (!force && isFirst) throw error;
      });
    }
    if (ports.clock.monotonic() >= deadline) {
      if (force) return ports.hypervisor.destroy(handle);
      throw new CowherdError('NOT_STOPPED', `${domain.name} did not shut down within ${timeoutMs / 1000} s`, {
        hint: 'It may be booting, or ignore the power button, and it may still go off. Give it longer with --timeout, or end it with --force.',
      });
    }
    await ports.clock.sleep(pollMs, signal);
  }
}
