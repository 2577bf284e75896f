import { printedAttribute } from '../../core/domain/domain-xml.js';
import type { CowherdError } from '../../core/errors.js';
import type { DomainState, MemberMark } from '../../core/fleet/observation.js';
import type { Ports } from '../../ports/index.js';

/** libvirt's side of it, asked for once. */
export interface LibvirtInventory {
  domains: DomainState[];
  /** By domain name. */
  marks: ReadonlyMap<string, MemberMark>;
  /** XML of the domains as they are defined, by UUID. */
  documents: ReadonlyMap<string, string>;
  /** Domains that libvirt gave no answer about, by name and by UUID. */
  unread: ReadonlyMap<string, CowherdError>;
}

export async function readInventory(ports: Pick<Ports, 'hypervisor'>): Promise<LibvirtInventory> {
  const domains = await ports.hypervisor.listDomains();
  const unread = new Map<string, CowherdError>();
  const [marks, documents] = await Promise.all([
    ports.hypervisor.readMarks(
      domains.map((domain) => domain.name),
      unread,
    ),
    ports.hypervisor.readXml(
      domains.map((domain) => domain.uuid),
      unread,
    ),
  ]);
  return { domains, marks, documents, unread };
}

/** Domains with a file of this directory of the store among their disks, or anywhere else in their XML. */
export function domainsNaming({ domains, documents }: LibvirtInventory, directory: string): DomainState[] {
  const printed = printedAttribute(`${directory}/`);
  return domains.filter(({ uuid }) => documents.get(uuid)?.includes(printed) === true);
}
