import { printedAttribute } from '../../core/domain/domain-xml.js';
import type { CowherdError } from '../../core/errors.js';
import type { DomainState, MemberMark } from '../../core/fleet/observation.js';
import type { Ports } from '../../ports/index.js';

/** The domains of libvirt, read once. */
export interface LibvirtInventory {
  domains: DomainState[];
  /** By UUID. */
  marks: ReadonlyMap<string, MemberMark>;
  /** XML definitions by UUID. */
  documents: ReadonlyMap<string, string>;
  /** Domains that could not be read, by UUID. */
  unread: ReadonlyMap<string, CowherdError>;
}

export async function readInventory(ports: Pick<Ports, 'hypervisor'>): Promise<LibvirtInventory> {
  const domains = await ports.hypervisor.listDomains();
  const unread = new Map<string, CowherdError>();
  // By UUID: virsh reads a numeric name as another domain's id.
  const uuids = domains.map((domain) => domain.uuid);
  const [marks, documents] = await Promise.all([ports.hypervisor.readMarks(uuids, unread), ports.hypervisor.readXml(uuids, unread)]);
  return { domains, marks, documents, unread };
}

/** Domains whose XML refers to a file in this directory. */
export function domainsNaming({ domains, documents }: LibvirtInventory, directory: string): DomainState[] {
  const printed = printedAttribute(`${directory}/`);
  return domains.filter(({ uuid }) => documents.get(uuid)?.includes(printed) === true);
}
