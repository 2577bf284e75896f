import { domainRef, virshWord } from '../../../../core/domain/domain-ref.js';
import { templateFromDomain } from '../../../../core/domain/template-from-domain.js';
import { CowherdError } from '../../../../core/errors.js';
import { isOn } from '../../../../core/fleet/observation.js';
import { baseNameFromFile } from '../../../../core/names.js';
import type { DiskSpec, GivenSpec } from '../../../../core/spec/spec.js';
import type { Ports } from '../../../../ports/index.js';
import { importBase } from './base-input.js';
import { sha256, type TemplateSource } from './definitions.js';
import { readNvram } from './inputs.js';
import type { SpawnOptions } from './options.js';

/** A foreign domain as the source of a fleet. */
export interface SourceDomain {
  template: TemplateSource;
  /** The image of its first disk. */
  base: { path: string; format: 'qcow2' | 'raw'; name: string };
  spec: GivenSpec;
  nvram: { bytes: Buffer; digest: string } | undefined;
  notes: string[];
}

/** Reads a domain and imports its further disks as base images. The domain is not changed.
 * @throws BAD_USAGE for conflicting options; PREFLIGHT_FAILED unless it is shut off; NOT_SUPPORTED
 */
export async function readSourceDomain(ports: Ports, options: SpawnOptions): Promise<SourceDomain | undefined> {
  if (options.fromDomain === undefined) return undefined;
  assertAlone(options);
  // The domain's name, even if its UUID was given.
  const { name, xml } = await shutOffDomain(ports, options.fromDomain);
  const { template, disks, spec, nvram, notes } = templateFromDomain(name, xml);
  const baseName = baseNameFromFile(`${name}.xml`) ?? 'domain';
  const [first, ...others] = disks;
  if (first === undefined) throw new Error('a template was created from a domain without disks');
  const further: DiskSpec[] = [];
  for (const { target, path, format, bus } of others) {
    const imported = await importBase(ports, path, { ...options, format, baseName: `${baseName.slice(0, 34)}-${target}` });
    notes.push(...imported.notes);
    further.push({ name: target, bus, base: { name: imported.base.name, digest: imported.base.digest } });
  }
  return {
    template: { text: template, origin: `created from domain ${name}`, digest: sha256(template) },
    base: { path: first.path, format: first.format, name: baseName },
    spec: { ...spec, disks: further },
    // If libvirt chose the firmware, the XML does not contain the path of its NVRAM.
    nvram: await readSourceNvram(ports, spec.firmware === 'uefi' ? (nvram ?? ports.domains.nvramPath(name)) : undefined, notes),
    notes: notes.map((note) => `${name}: ${note}`),
  };
}

/** A UEFI domain that never started has no NVRAM yet, and neither have its members. */
async function readSourceNvram(ports: Ports, path: string | undefined, notes: string[]): Promise<SourceDomain['nvram']> {
  try {
    return await readNvram(ports, path);
  } catch (error) {
    // Other errors are fatal: without the NVRAM, guests may not find their boot loader.
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw error;
    notes.push(`its NVRAM ${path} does not exist: members start with the firmware's default variables`);
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
  throw new CowherdError('BAD_USAGE', `${given.join(', ')} cannot be used with --from-domain: it is taken from the domain`, {
    hint: `Omit it, or change the template afterwards: cowherd spawn ${fleet} --template FILE`,
  });
}

async function shutOffDomain(ports: Ports, name: string): Promise<{ name: string; xml: string }> {
  const domain = (await ports.hypervisor.listDomains()).find((one) => one.name === name || one.uuid === name);
  // The definition includes passwords, so that consoles stay protected in the members.
  const xml = domain === undefined ? undefined : await ports.domains.definition(domainRef(domain));
  if (domain === undefined || xml === undefined) {
    throw new CowherdError('DOMAIN_NOT_FOUND', `Domain ${name} not found at ${ports.hypervisor.uri}`, {
      hint: 'List the domains: virsh list --all',
    });
  }
  const mark = (await ports.hypervisor.readMarks([domain.uuid])).get(domain.uuid);
  if (mark !== undefined) {
    throw new CowherdError('BAD_USAGE', `Domain ${name} is a member of fleet ${mark.fleet}`, {
      hint: `Create a base image from its disk instead: cowherd promote ${name} --as NAME`,
    });
  }
  if (isOn(domain)) {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} is ${domain.state}: its disks could change while they are read`, {
      hint: `Shut it down first: virsh shutdown ${virshWord(domain)}`,
    });
  }
  if (domain.reason === 'saved') {
    throw new CowherdError('PREFLIGHT_FAILED', `Domain ${name} has saved memory: its guest was not shut down`, {
      hint: `Start it and shut it down: virsh start ${virshWord(domain)}; virsh shutdown ${virshWord(domain)}`,
    });
  }
  return { name: domain.name, xml };
}
