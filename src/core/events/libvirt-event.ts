/** Lines of `virsh event --all --loop --timestamp`. */

export interface DomainEvent {
  /** ISO date. */
  time: string;
  /** Not escaped: a domain that cowherd did not create may have any name. */
  domain: string;
  /** libvirt's name of the event, e.g. `lifecycle`. */
  event: string;
  /** E.g. `Started Booted`. Some events contain text that the guest chose. */
  detail: string;
}

const line = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3})\+0000: event '([a-z0-9-]{1,40})' for domain '(.{1,255})': (.{0,500})$/;

/** @returns undefined for another line, also the continuation of one: a name may contain a line break */
export function parseDomainEvent(text: string): DomainEvent | undefined {
  const [, date, time, event, domain, detail] = line.exec(text) ?? [];
  if (event === undefined || domain === undefined || detail === undefined) return undefined;
  return { time: `${date}T${time}Z`, domain, event, detail };
}
