import { dirname } from 'node:path';
import { nicsOf } from '../../core/domain/nics.js';
import { templateFromDomain } from '../../core/domain/template-from-domain.js';
import { decodeEntities } from '../../core/domain/xml-tree.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';
import { basesOf, type FleetRecord, growMembers } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import { type DomainSpec, defaultDomainSpec } from '../../core/spec/spec.js';
import type { Freeze, Ports } from '../../ports/index.js';
import type { SpawnOptions } from '../fleet/spawn/spawn.js';
import { assertWaitable } from '../guest/readiness.js';
import { readIdentityReport } from '../guest/reidentify.js';
import { assertChecks, checkMemory } from '../preflight/checks.js';
import { assertRoom } from '../preflight/disk-space.js';
import { handleOf } from '../snapshot/access.js';

/** Whether clones can be made of a VM that runs. What can be known beforehand is, so that it is not frozen for nothing. */

/** How long the golden VM's agent may take to answer. */
const agentMs = 30_000;

/** @throws BAD_USAGE: a clone is what the running VM is */
export function assertAlone({ fleet, base, fromDomain, template, nvram, seedFiles = {}, secrets, spec = {} }: SpawnOptions): void {
  const given = Object.entries({
    '--base': base,
    '--from-domain': fromDomain,
    '--template': template,
    '--nvram': nvram,
    '--memory': spec.memoryMiB,
    '--vcpus': spec.vcpus,
    '--virt-type': spec.virtType,
    '--cpu': spec.cpu,
    '--disk': spec.disks,
    '--disk-size': spec.rootBytes,
    '--network': spec.network,
    '--firmware': spec.firmware,
    '--tpm': spec.tpm,
    '--forward-ssh': spec.forwardSsh,
    '--seed': spec.seed,
    '--ssh-key': spec.sshKeys,
    '--secret': secrets,
    '--user-data': seedFiles.userData,
    '--user-data-raw': seedFiles.userDataRaw,
    '--meta-data': seedFiles.metaData,
    '--network-config': seedFiles.networkConfig,
  }).flatMap(([flag, value]) => (value === undefined ? [] : [flag]));
  if (given.length === 0) return;
  throw new CowherdError('BAD_USAGE', `${given.join(', ')} cannot go with --from-running: a clone is what the running VM is`, {
    hint: `Leave it out; or make fleet ${fleet} of a VM that is shut off: --from-domain.`,
  });
}

/** What a golden VM said of itself before it was frozen. */
export type GoldenSelf = Pick<Freeze, 'addresses' | 'hostKeyTypes' | 'memoryMiB'>;

/**
 * What a clone must be able to do the golden VM must be, and there must be room.
 * @returns what of itself its clones must not have
 * @throws PREFLIGHT_FAILED, NOT_SUPPORTED, FOREIGN_DOMAIN
 */
export async function assertFreezable(ports: Ports, options: SpawnOptions & { count: number }, domain: DomainState): Promise<GoldenSelf> {
  const { name, state, reason } = domain;
  const handle = handleOf(domain);
  if (state !== 'running') {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} does not run (${state === 'shutOff' ? 'off' : state}: ${reason})`, {
      hint: `Start it, and wait until it is ready. A fleet of one that is shut off: --from-domain ${name}`,
    });
  }
  if ((await ports.domains.managedState()).transient.has(name)) {
    throw new CowherdError('NOT_SUPPORTED', `Domain ${name} is transient: libvirt could not keep its memory`, {
      hint: `Make it lasting: virsh dumpxml ${name} --migratable > FILE; virsh define FILE`,
    });
  }
  const xml = await ports.domains.running(handle);
  if (xml === undefined)
    throw new CowherdError('DOMAIN_NOT_FOUND', `Domain ${name} went away meanwhile`, { hint: 'See "virsh list --all".' });
  const memoryMiB = await assertFleet(ports, options, name, xml);
  const self = await readIdentityReport(ports, handle, { timeoutMs: agentMs }).catch((error: unknown) => {
    const { code, message } = reportOf(error);
    throw new CowherdError('PREFLIGHT_FAILED', `Clones of ${name} could not be made themselves: ${message}`, {
      details: [code],
      hint: 'Its guest agent must answer and may run /bin/sh: clones get a name, keys and addresses of their own by it.',
    });
  });
  const [address] = self.staticAddresses;
  if (address !== undefined) {
    throw new CowherdError('NOT_SUPPORTED', `${name} has the address ${address} by its own settings, and every clone would have it`, {
      hint: 'Have it get its address by DHCP, and try again.',
    });
  }
  const hostKeyTypes = [...new Set(self.hostKeys.map((key) => key.split(' ')[0] ?? ''))];
  return { addresses: self.cardAddresses, hostKeyTypes, memoryMiB };
}

/** What the spawn would refuse once the VM is frozen. @returns its memory in MiB */
async function assertFleet(
  ports: Ports,
  { fleet, count, wait, start, force }: SpawnOptions & { count: number },
  name: string,
  xml: string,
): Promise<number> {
  const { spec: own, template, disks, nvram } = templateFromDomain(name, xml);
  const spec: DomainSpec = { ...defaultDomainSpec, ...own };
  assertCloneable(ports, name, xml, { template, spec, nvram });
  assertWaitable(spec, wait);
  const taken = new Set((await ports.hypervisor.listDomains()).map((domain) => domain.name));
  const foreign = growMembers(fleet, '', [], count).find((member) => taken.has(member.name));
  if (foreign !== undefined) {
    throw new CowherdError('FOREIGN_DOMAIN', `A domain named ${foreign.name} exists that is not of fleet ${fleet}; nothing was changed`, {
      hint: `Choose another fleet name, or rename that domain: virsh domrename ${foreign.name} NEW`,
    });
  }
  const demand = { starting: start === false ? 0 : count, creating: 0, memoryMiB: spec.memoryMiB, virtualBytes: 0 };
  assertChecks([await checkMemory(ports, demand)], force === true);
  const memoryBytes = spec.memoryMiB * 2 ** 20;
  await assertRoom(ports, dirname(ports.memory.managedSave(name)), memoryBytes, `The memory of ${name}`);
  const sizes = await Promise.all(disks.map(({ path }) => ports.disks.allocatedBytes(path)));
  const diskBytes = sizes.reduce((sum: number, bytes) => sum + (bytes ?? 0), 0);
  await assertRoom(ports, ports.fleets.root, memoryBytes + diskBytes, `The memory and the disks of ${name}`);
  return spec.memoryMiB;
}

/** @throws NOT_SUPPORTED */
export function assertCloneable(
  ports: Ports,
  name: string,
  xml: string,
  { template, spec, nvram }: { template: string; spec: { tpm?: boolean; firmware?: string }; nvram: string | undefined },
): void {
  const refuse = (reason: string, hint: string): never => {
    throw new CowherdError('NOT_SUPPORTED', `No clones can be made of ${name}: ${reason}`, { hint });
  };
  if (spec.tpm === true) refuse("its TPM's state would be every clone's", 'Take the TPM out of it, or use --from-domain.');
  if (spec.firmware === 'uefi' || nvram !== undefined) refuse('it has UEFI variables', 'Use --from-domain for machines with UEFI.');
  // The memory of others holds the MAC that they had when they were made, and they take it again at the guest's next reboot.
  const card = nicsOf(name, xml).find(({ model }) => !model.startsWith('virtio'));
  if (card !== undefined)
    refuse(`its network card ${card.mac} is of model ${card.model || 'unknown'}`, 'Give it one of model virtio, or use --from-domain.');
  // Of what is left in it: the members' own disks are variables.
  if (decodeEntities(template).includes(`${ports.fleets.root}/`)) {
    refuse(
      'it has a cloud-init seed, or another file, of a fleet',
      `Take it out while it runs: virsh detach-disk ${name} TARGET --live --config`,
    );
  }
}

/** Another moment of the same disk would become what other fleets go on from, or are to. */
export async function assertUnused(ports: Ports, base: BaseImage, fleet: string): Promise<void> {
  for (const name of (await ports.fleets.list()).filter((one) => one !== fleet)) {
    const records = [
      await ports.fleets.read(name).catch(() => undefined),
      (await ports.fleets.unfinished(name).catch(() => undefined))?.operation.record,
    ];
    const isRecorded = records.some(
      (record) => record?.spec.warm !== undefined && basesOf(record).some(({ digest }) => digest === base.digest),
    );
    const begun = await ports.memory.readFreeze(name).catch(() => undefined);
    if (!isRecorded && begun?.taken?.base.digest !== base.digest) continue;
    throw new CowherdError('BASE_IN_USE', `Fleet ${name} goes on from an earlier memory with the same disk, ${formatBaseRef(base)}`, {
      hint: `Grow that fleet (cowherd spawn ${name} --count N), or have the golden VM write something to its disk.`,
    });
  }
}

/** For a fleet that exists its first freeze counts. @throws BAD_USAGE where it is not one of clones, or of another VM's */
export async function assertWarm(ports: Ports, recorded: FleetRecord, fromRunning: string): Promise<void> {
  const hint = 'Choose another name for a fleet of clones.';
  if (recorded.spec.warm === undefined)
    throw new CowherdError('BAD_USAGE', `Fleet ${recorded.name} exists, and its members boot`, { hint });
  const golden = (await ports.bases.get(recorded.base))?.warm?.domain;
  if (golden === undefined || golden === fromRunning) return;
  const uuidOf = (await ports.hypervisor.listDomains()).find(({ name }) => name === golden)?.uuid;
  if (uuidOf === fromRunning) return;
  throw new CowherdError('BAD_USAGE', `Members of ${recorded.name} are clones of ${golden}, not of ${fromRunning}`, { hint });
}
