import { dirname } from 'node:path';
import { domainRef, virshWord } from '../../core/domain/domain-ref.js';
import { nicsOf } from '../../core/domain/nics.js';
import { templateFromDomain } from '../../core/domain/template-from-domain.js';
import { decodeEntities } from '../../core/domain/xml-tree.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';
import { basesOf, type FleetRecord, growMembers } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import { cloneDemand } from '../../core/memory/demand.js';
import { sharingObstacle } from '../../core/memory/sharing.js';
import { shellWord } from '../../core/quoting.js';
import { type DomainSpec, defaultDomainSpec } from '../../core/spec/spec.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { readNvram } from '../fleet/spawn/input/inputs.js';
import type { ReadySpawnOptions, SpawnOptions } from '../fleet/spawn/input/options.js';
import { assertWaitable } from '../guest/readiness.js';
import { readIdentityReport } from '../guest/reidentify.js';
import { assertChecks, checkMemory } from '../preflight/checks.js';
import { assertRoom } from '../preflight/disk-space.js';

/** Whether a running VM can be cloned. All checks run before it is frozen. */

/** Time limit for an answer of the source VM's agent. */
const agentMs = 30_000;

/** @throws BAD_USAGE for options that a clone takes from the running VM */
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
  throw new CowherdError('BAD_USAGE', `${given.join(', ')} cannot be used with --from-running: clones take it from the running VM`, {
    hint: `Omit it, or create fleet ${fleet} from a VM that is shut off: --from-domain.`,
  });
}

/** Facts that the source VM's agent reported before the freeze. */
export type SourceIdentity = Pick<Freeze, 'addresses' | 'hostKeyTypes' | 'memoryMiB'>;

/** Checks that the source VM can be cloned and that there is enough space. @returns the identity that its clones must not keep
 * @throws PREFLIGHT_FAILED, NOT_SUPPORTED, FOREIGN_DOMAIN
 */
export async function assertFreezable(
  ports: Ports,
  options: ReadySpawnOptions & { count: number },
  domain: DomainState,
): Promise<SourceIdentity> {
  const { name, state, reason } = domain;
  const ref = domainRef(domain);
  if (state !== 'running') {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} is not running (${state === 'shutOff' ? 'off' : state}: ${reason})`, {
      hint: `Start it and wait until it is ready. To create a fleet from a VM that is shut off: --from-domain ${name}`,
    });
  }
  if ((await ports.domains.managedState()).transient.has(name)) {
    throw new CowherdError('NOT_SUPPORTED', `Domain ${name} is transient: libvirt cannot save its memory`, {
      hint: `Make it persistent: virsh dumpxml ${virshWord(domain)} --migratable > FILE; virsh define FILE`,
    });
  }
  const xml = await ports.domains.running(ref);
  if (xml === undefined)
    throw new CowherdError('DOMAIN_NOT_FOUND', `Domain ${name} was removed meanwhile`, { hint: 'List the domains: virsh list --all' });
  const memoryMiB = await assertFleet(ports, options, name, xml);
  const self = await readIdentityReport(ports, ref, { timeoutMs: agentMs }).catch((error: unknown) => {
    const { code, message } = reportOf(error);
    throw new CowherdError('PREFLIGHT_FAILED', `Cannot give clones of ${name} their own identity: ${message}`, {
      details: [code],
      hint: 'Its guest agent must answer and be allowed to run /bin/sh: it sets the name, keys and addresses of the clones.',
    });
  });
  const [address] = self.staticAddresses;
  if (address !== undefined) {
    throw new CowherdError('NOT_SUPPORTED', `${name} has the static address ${address}, which every clone would share`, {
      hint: 'Switch it to DHCP and try again.',
    });
  }
  const hostKeyTypes = [...new Set(self.hostKeys.map((key) => key.split(' ')[0] ?? ''))];
  return { addresses: self.cardAddresses, hostKeyTypes, memoryMiB };
}

/** Checks that the spawn would otherwise fail after the freeze. @returns the VM's memory in MiB */
async function assertFleet(
  ports: Ports,
  { fleet, count, wait, start, force, shareTpm }: ReadySpawnOptions & { count: number },
  name: string,
  xml: string,
): Promise<number> {
  const source = templateFromDomain(name, xml);
  const { disks } = source;
  const spec: DomainSpec = { ...defaultDomainSpec, ...source.spec };
  assertCloneable(ports, name, xml, source, { shareTpm });
  await readVariables(ports, name, source);
  assertWaitable(spec, wait);
  const taken = new Set((await ports.hypervisor.listDomains()).map((domain) => domain.name));
  const foreign = growMembers(fleet, '', [], count).find((member) => taken.has(member.name));
  if (foreign !== undefined) {
    throw new CowherdError('FOREIGN_DOMAIN', `Domain ${foreign.name} exists and does not belong to fleet ${fleet}; nothing was changed`, {
      hint: `Choose another fleet name, or rename that domain: virsh domrename ${foreign.name} NEW`,
    });
  }
  const memoryBytes = spec.memoryMiB * 2 ** 20;
  const starting = start === false ? 0 : count;
  const isShared = sharingObstacle(xml, (await ports.hypervisor.versions()).hypervisor) === undefined;
  const demand = { starting, creating: 0, memoryMiB: spec.memoryMiB, virtualBytes: 0 };
  const clones = isShared && starting > 0 ? { clones: cloneDemand(starting, memoryBytes, memoryBytes, []) } : {};
  assertChecks([await checkMemory(ports, { ...demand, ...clones })], force === true);
  await assertRoom(ports, dirname(ports.memory.managedSave(name)), memoryBytes, `The memory of ${name}`);
  const sizes = await Promise.all(disks.map(({ path }) => ports.disks.allocatedBytes(path)));
  const diskBytes = sizes.reduce((sum: number, bytes) => sum + (bytes ?? 0), 0);
  await assertRoom(ports, ports.fleets.root, memoryBytes + diskBytes, `The memory and the disks of ${name}`);
  return spec.memoryMiB;
}

/** UEFI variables of a domain; undefined without UEFI. */
export async function readVariables(
  ports: Pick<Ports, 'readBytes' | 'domains'>,
  name: string,
  { spec, nvram }: { spec: { firmware?: string }; nvram: string | undefined },
): Promise<{ bytes: Buffer; digest: string } | undefined> {
  // If libvirt chose the firmware, the XML does not contain the path of its NVRAM.
  return spec.firmware === 'uefi' ? readNvram(ports, nvram ?? ports.domains.nvramPath(name)) : undefined;
}

/** @throws NOT_SUPPORTED */
export function assertCloneable(
  ports: Ports,
  name: string,
  xml: string,
  { template, spec }: { template: string; spec: { tpm?: boolean } },
  { shareTpm }: Pick<SpawnOptions, 'shareTpm'> = {},
): void {
  const refuse = (reason: string, hint: string): never => {
    throw new CowherdError('NOT_SUPPORTED', `Cannot clone ${name}: ${reason}`, { hint });
  };
  // The TPM's state is part of the saved memory: with it, each clone has the same keys.
  if (spec.tpm === true && shareTpm !== true)
    refuse(
      'all clones would share the state of its TPM',
      'If all of them may unseal the same secrets, add --share-tpm. Otherwise remove the TPM from it, or use --from-domain.',
    );
  // Other models keep their initial MAC in device memory and use it again at the guest's next reboot.
  const card = nicsOf(name, xml).find(({ model }) => !model.startsWith('virtio'));
  if (card !== undefined)
    refuse(`its network card ${card.mac} has the model ${card.model || 'unknown'}`, 'Change the model to virtio, or use --from-domain.');
  // The members' own disks are variables in the template: any other file of the store is in use by a fleet.
  if (decodeEntities(template).includes(`${ports.fleets.root}/`)) {
    refuse(
      'it has a cloud-init seed or another file of a fleet',
      `Detach it while the domain is running: virsh detach-disk ${shellWord(name)} TARGET --live --config. Or create its fleet with --seed smbios.`,
    );
  }
}

/** Recording new memory for this disk would replace the memory that another fleet resumes from. @throws BASE_IN_USE */
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
    throw new CowherdError('BASE_IN_USE', `Fleet ${name} uses an earlier memory of the same disk, ${formatBaseRef(base)}`, {
      hint: `Grow that fleet (cowherd spawn ${name} --count N), or let the source VM write to its disk first.`,
    });
  }
}

/** An existing fleet keeps its first freeze. @throws BAD_USAGE if it is not a fleet of clones, or of another VM */
export async function assertWarm(ports: Ports, recorded: FleetRecord, fromRunning: string): Promise<void> {
  const hint = 'Choose another name for a fleet of clones.';
  if (recorded.spec.warm === undefined)
    throw new CowherdError('BAD_USAGE', `Fleet ${recorded.name} exists and is not a fleet of clones`, { hint });
  const source = (await ports.bases.get(recorded.base))?.warm?.domain;
  if (source === undefined || source === fromRunning) return;
  const uuidOf = (await ports.hypervisor.listDomains()).find(({ name }) => name === source)?.uuid;
  if (uuidOf === fromRunning) return;
  throw new CowherdError('BAD_USAGE', `Members of ${recorded.name} are clones of ${source}, not of ${fromRunning}`, { hint });
}
