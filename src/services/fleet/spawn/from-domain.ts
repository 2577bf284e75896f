import { templateFromDomain } from '../../../core/domain/template-from-domain.js';
import { CowherdError } from '../../../core/errors.js';
import { isOn } from '../../../core/fleet/observation.js';
import { baseNameFromFile } from '../../../core/names.js';
import type { DiskSpec, GivenSpec } from '../../../core/spec/spec.js';
import type { Ports } from '../../../ports/index.js';
import { importBase } from './base-input.js';
import { sha256, type TemplateSource } from './definitions.js';
import { readNvram } from './inputs.js';
import type { SpawnOptions } from './spawn.js';

/** A domain that cowherd did not make, as the golden one of a fleet. */
export interface GoldenDomain {
  template: TemplateSource;
  /** The image of its first disk. */
  base: { path: string; format: 'qcow2' | 'raw'; name: string };
  spec: GivenSpec;
  nvram: { bytes: Buffer; digest: string } | undefined;
  notes: string[];
}

/**
 * Reads a domain and imports its further disks as base images. The domain itself is not changed.
 * @throws BAD_USAGE where it does not go with other options; PREFLIGHT_FAILED unless it is shut off; NOT_SUPPORTED
 */
export async function goldenDomain(ports: Ports, options: SpawnOptions): Promise<GoldenDomain | undefined> {
  const { fromDomain: name } = options;
  if (name === undefined) return undefined;
  assertAlone(options);
  const { domain, xml } = await shutOffDomain(ports, name);
  const { template, disks, spec, nvram, notes } = templateFromDomain(name, xml);
  const baseName = baseNameFromFile(`${name}.xml`) ?? 'domain';
  const [first, ...others] = disks;
  if (first === undefined) throw new Error('a template was made of a domain without disks');
  const further: DiskSpec[] = [];
  for (const { target, path, format, bus } of others) {
    const imported = await importBase(ports, path, { ...options, format, baseName: `${baseName.slice(0, 34)}-${target}` });
    notes.push(...imported.notes);
    further.push({ name: target, bus, base: { name: imported.base.name, digest: imported.base.digest } });
  }
  return {
    template: { text: template, origin: `made of domain ${name}`, digest: sha256(template) },
    base: { path: first.path, format: first.format, name: baseName },
    spec: { ...spec, disks: further },
    // libvirt does not say where it keeps the variables of a domain whose firmware it chose itself.
    nvram: await readGoldenNvram(ports, spec.firmware === 'uefi' ? (nvram ?? ports.domains.nvramPath(domain)) : undefined, notes),
    notes: notes.map((note) => `${name}: ${note}`),
  };
}

/** A domain that never ran under UEFI has none yet, and its members begin as it would. */
async function readGoldenNvram(ports: Ports, path: string | undefined, notes: string[]): Promise<GoldenDomain['nvram']> {
  try {
    return await readNvram(ports, path);
  } catch (error) {
    // One that may not be read is another matter: without it the guests may not find their boot loader.
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw error;
    notes.push(`its NVRAM ${path} is not there: members begin with the firmware's own`);
    return undefined;
  }
}

function assertAlone({ fleet, base, template, nvram, spec = {} }: SpawnOptions): void {
  const given = Object.entries({
    '--base': base,
    '--template': template,
    '--nvram': nvram,
    '--disk': spec.disks,
    '--network': spec.network,
    '--firmware': spec.firmware,
    '--tpm': spec.tpm,
    '--forward-ssh': spec.forwardSsh === true ? true : undefined,
    '--seed smbios': spec.seed === 'smbios' ? true : undefined,
  }).flatMap(([flag, value]) => (value === undefined ? [] : [flag]));
  if (given.length === 0) return;
  throw new CowherdError('BAD_USAGE', `${given.join(', ')} cannot go with --from-domain: the domain says that itself`, {
    hint: `Leave it out; or change the template that was made: cowherd spawn ${fleet} --template FILE.`,
  });
}

async function shutOffDomain(ports: Ports, name: string): Promise<{ domain: string; xml: string }> {
  const domain = (await ports.hypervisor.listDomains()).find((one) => one.name === name || one.uuid === name);
  // With its passwords: a console that asks for one must not be open in the members.
  const xml = domain === undefined ? undefined : await ports.domains.definition(domain.name);
  if (domain === undefined || xml === undefined) {
    throw new CowherdError('DOMAIN_NOT_FOUND', `There is no domain ${name} at ${ports.hypervisor.uri}`, {
      hint: `See which there are: virsh -c ${ports.hypervisor.uri} list --all`,
    });
  }
  const mark = (await ports.hypervisor.readMarks([domain.name])).get(domain.name);
  if (mark !== undefined) {
    throw new CowherdError('BAD_USAGE', `Domain ${name} is a member of fleet ${mark.fleet}`, {
      hint: `Make a base image of its disk instead: cowherd promote ${name} --as NAME`,
    });
  }
  if (isOn(domain)) {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} is ${domain.state}: its disks change while they would be read`, {
      hint: `Shut it down first: virsh shutdown ${name}`,
    });
  }
  if (domain.reason === 'saved') {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} has saved memory: its disks are those of a guest that has not shut down`, {
      hint: `Start it and shut it down: virsh start ${name}; virsh shutdown ${name}`,
    });
  }
  return { domain: domain.name, xml };
}
