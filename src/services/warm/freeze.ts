import { type BaseImage, formatBaseRef } from '../../core/base.js';
import { templateFromDomain } from '../../core/domain-template.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { basesOf, type FleetRecord } from '../../core/fleet.js';
import { baseNameFromFile } from '../../core/names.js';
import { type DomainState, isOn } from '../../core/observation.js';
import type { DiskSpec, GivenSpec } from '../../core/spec.js';
import { attribute, element, parseXml } from '../../core/xml-tree.js';
import type { Freeze, Ports } from '../../ports.js';
import { sha256, type TemplateSource } from '../definitions.js';
import { readGuestSelf } from '../fix-up.js';
import { withFleetLock } from '../fleet-access.js';
import type { SpawnOptions } from '../spawn.js';
import { importBase } from '../spawn-inputs.js';

/** A running VM, frozen in a moment: its disk as a base image, and its memory beside it. */
export interface FrozenDomain {
  base: BaseImage;
  template: TemplateSource;
  spec: GivenSpec;
  /** sha256 of the memory. */
  warm: string;
  notes: string[];
}

/** How long the golden VM's agent may take to answer. */
const agentMs = 30_000;

/**
 * Freezes a running VM for a new fleet. libvirt itself keeps its memory while its disk is read (a managed save), so whatever ends this
 * run, the next start of that domain goes on where it was.
 * @throws BAD_USAGE, DOMAIN_NOT_FOUND, PREFLIGHT_FAILED, NOT_SUPPORTED: nothing was changed
 */
export async function freezeDomain(ports: Ports, options: SpawnOptions & { count: number }): Promise<FrozenDomain> {
  verifyAlone(options);
  const name = options.fromRunning ?? '';
  const begun = await ports.memory.readFreeze(options.fleet);
  const domain = (await ports.hypervisor.listDomains()).find((one) => one.name === name || one.uuid === name);
  if (domain === undefined) {
    throw new CowherdError('DOMAIN_NOT_FOUND', `There is no domain ${name} at ${ports.hypervisor.uri}`, {
      hint: `See which there are: virsh -c ${ports.hypervisor.uri} list`,
    });
  }
  // Left frozen by a run that was killed.
  const isFrozen = begun?.uuid === domain.uuid && !isOn(domain) && (await ports.hypervisor.listSaved()).has(domain.name);
  const mark = (await ports.hypervisor.readMarks([domain.name])).get(domain.name);
  const work = (): Promise<FrozenDomain> => freeze(ports, options, domain, isFrozen);
  if (mark === undefined || !(await ports.fleets.list()).includes(mark.fleet)) return work();
  if (mark.fleet === options.fleet) {
    throw new CowherdError('BAD_USAGE', `${name} is a member of fleet ${mark.fleet} itself`, {
      hint: 'Choose another name for the new fleet.',
    });
  }
  // Nobody resets it while it is read.
  return withFleetLock(ports, mark.fleet, work);
}

function verifyAlone({ fleet, base, fromDomain, template, nvram, seedFiles = {}, secrets, spec = {} }: SpawnOptions): void {
  const given = Object.entries({
    '--base': base,
    '--from-domain': fromDomain,
    '--template': template,
    '--nvram': nvram,
    '--memory': spec.memoryMiB,
    '--vcpus': spec.vcpus,
    '--virt-type': spec.virtType,
    '--disk': spec.disks,
    '--network': spec.network,
    '--firmware': spec.firmware,
    '--tpm': spec.tpm,
    '--forward-ssh': spec.forwardSsh,
    '--seed': spec.seed,
    '--ssh-key': spec.sshKeys,
    '--secret': secrets,
    '--user-data': seedFiles.userData,
    '--meta-data': seedFiles.metaData,
    '--network-config': seedFiles.networkConfig,
  }).flatMap(([flag, value]) => (value === undefined ? [] : [flag]));
  if (given.length === 0) return;
  throw new CowherdError('BAD_USAGE', `${given.join(', ')} cannot go with --from-running: a clone is what the running VM is`, {
    hint: `Leave it out; or make fleet ${fleet} of a VM that is shut off: --from-domain.`,
  });
}

async function freeze(
  ports: Ports,
  options: SpawnOptions & { count: number },
  domain: DomainState,
  isFrozen: boolean,
): Promise<FrozenDomain> {
  const { fleet, keepFrozen = false, signal, onProgress } = options;
  if (!isFrozen) await verifyFreezable(ports, domain);
  const begun: Freeze = {
    version: 1,
    domain: domain.name,
    uuid: domain.uuid,
    startedAt: ports.clock.now().toISOString(),
    count: options.count,
    keepFrozen,
  };
  await ports.memory.beginFreeze(fleet, begun);
  let goesOn = false;
  const release = async (): Promise<void> => {
    if (!keepFrozen && !goesOn) await ports.hypervisor.start(domain.name);
    goesOn = true;
  };
  try {
    onProgress?.({ kind: 'note', text: `freezing ${domain.name}: it stands still while its disk is read` });
    const versions = await ports.hypervisor.versions();
    if (!isFrozen) await ports.hypervisor.saveManaged(domain.name);
    const file = ports.memory.managedSave(domain.name);
    const { xml, wasRunning } = await ports.memory.read(file);
    if (!wasRunning) throw new CowherdError('PREFLIGHT_FAILED', `${domain.name} was not running when it was saved`, { hint: 'Start it.' });
    const { template, disks, spec, nvram, notes } = templateFromDomain(domain.name, xml);
    verifyCloneable(ports, domain.name, template, spec, nvram);
    const baseName = baseNameFromFile(`${domain.name}.xml`) ?? 'domain';
    const [first, ...others] = disks;
    if (first === undefined) throw new Error('a template was made of a domain without disks');
    const asked = { ...options, trustChain: true };
    const further: DiskSpec[] = [];
    for (const { target, path, format, bus } of others) {
      const imported = await importBase(ports, path, { ...asked, format, baseName: `${baseName.slice(0, 34)}-${target}` });
      further.push({ name: target, bus, base: { name: imported.base.name, digest: imported.base.digest } });
    }
    const imported = await importBase(ports, first.path, { ...asked, format: first.format, baseName });
    const facts = {
      takenAt: ports.clock.now().toISOString(),
      domain: domain.name,
      macs: macsIn(xml),
      memoryMiB: spec.memoryMiB,
      machine: attribute(element(parseXml(xml, domain.name), 'os', 'type'), 'machine') ?? '',
      ...versions,
    };
    const base = await ports.bases.locked(async () => {
      await verifyUnused(ports, imported.base);
      return ports.memory.keep(imported.base, file, facts, release, signal);
    }, signal);
    if (base.warm === undefined) throw new Error('a memory was kept and not recorded');
    return {
      base,
      template: { text: template, origin: `made of running domain ${domain.name}`, digest: sha256(template) },
      spec: { ...spec, disks: further },
      warm: base.warm.digest,
      notes: [
        `${formatBaseRef(base)} frozen from ${domain.name}, which ${keepFrozen ? 'stays frozen: "virsh start" lets it go on' : 'goes on'}`,
        ...notes.map((note) => `${domain.name}: ${note}`),
      ],
    };
  } catch (error) {
    // Also one that was to stay frozen: nothing came of it.
    if (!goesOn)
      await ports.hypervisor
        .start(domain.name)
        .catch((failure: unknown) => onProgress?.({ kind: 'note', text: reportOf(failure).message }));
    throw error;
  }
}

/** What a clone must be able to do the golden VM must be. @throws PREFLIGHT_FAILED, NOT_SUPPORTED */
async function verifyFreezable(ports: Ports, { name, state, reason }: DomainState): Promise<void> {
  if (state !== 'running') {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} does not run (${state === 'shutOff' ? 'off' : state}: ${reason})`, {
      hint: `Start it, and wait until it is ready. A fleet of one that is shut off: --from-domain ${name}`,
    });
  }
  const xml = await ports.domains.running(name);
  if (xml !== undefined) templateFromDomain(name, xml);
  await readGuestSelf(ports, name, { timeoutMs: agentMs }).catch((error: unknown) => {
    const { code, message } = reportOf(error);
    throw new CowherdError('PREFLIGHT_FAILED', `Clones of ${name} could not be made themselves: ${message}`, {
      details: [code],
      hint: 'Its guest agent must answer and may run /bin/sh: clones get a name, keys and addresses of their own by it.',
    });
  });
}

function verifyCloneable(
  ports: Ports,
  name: string,
  template: string,
  spec: { tpm?: boolean; firmware?: string },
  nvram: string | undefined,
): void {
  const refuse = (reason: string, hint: string): never => {
    throw new CowherdError('NOT_SUPPORTED', `No clones can be made of ${name}: ${reason}`, { hint });
  };
  if (spec.tpm === true) refuse("its TPM's state would be every clone's", 'Take the TPM out of it, or use --from-domain.');
  if (spec.firmware === 'uefi' || nvram !== undefined) refuse('it has UEFI variables', 'Use --from-domain for machines with UEFI.');
  if (template.includes(`${ports.fleets.root}/`)) {
    refuse(
      'it has a cloud-init seed, or another file, of a fleet',
      `Take it out while it runs: virsh detach-disk ${name} TARGET --live --config`,
    );
  }
}

/** Another moment of the same disk would become what other fleets go on from. */
async function verifyUnused(ports: Ports, base: BaseImage): Promise<void> {
  for (const name of base.warm === undefined ? [] : await ports.fleets.list()) {
    const record = await ports.fleets.read(name).catch(() => undefined);
    if (record?.spec.warm === undefined || !basesOf(record).some(({ digest }) => digest === base.digest)) continue;
    throw new CowherdError('BASE_IN_USE', `Fleet ${name} goes on from an earlier memory with the same disk, ${formatBaseRef(base)}`, {
      hint: `Grow that fleet (cowherd spawn ${name} --count N), or have the golden VM write something to its disk.`,
    });
  }
}

function macsIn(xml: string): string[] {
  return [...xml.matchAll(/<mac address=['"]([0-9a-fA-F:]{17})['"]/g)].map((match) => (match[1] ?? '').toLowerCase());
}

/** For a fleet that exists its first freeze counts. @throws BAD_USAGE where it is not one of clones */
export function verifyWarm(recorded: FleetRecord): void {
  if (recorded.spec.warm !== undefined) return;
  throw new CowherdError('BAD_USAGE', `Fleet ${recorded.name} exists, and its members boot`, {
    hint: 'Choose another name for a fleet of clones.',
  });
}
