import { isOn } from '../../core/fleet/observation.js';
import type { Ports } from '../../ports/index.js';
import { shutDownGuest } from '../fleet/shut-down.js';
import type { SnapshotContext, SnapshotOptions } from './access.js';

export async function isDomainOn(ports: Ports, { domain }: SnapshotContext): Promise<boolean> {
  return isOn((await ports.hypervisor.listDomains()).find(({ uuid }) => uuid === domain.uuid));
}

/** Shuts a guest down and waits. @throws NOT_STOPPED, INTERRUPTED */
export async function shutDown(ports: Ports, context: SnapshotContext, options: SnapshotOptions): Promise<void> {
  if (!(await isDomainOn(ports, context))) return;
  const { ref, domain } = context;
  const { force = false, timeoutMs, signal, onProgress } = options;
  onProgress?.({ kind: 'note', text: `Shutting down ${domain.name}` });
  await shutDownGuest(ports, { name: domain.name, ref, isOn: () => isDomainOn(ports, context), force, timeoutMs, signal });
}
