/** How lists continue: in the body of each page is the URL of the next one. */

/**
 * The query of the next page; undefined on the last one.
 * Only the query of the link is used: behind a proxy, links often have the wrong protocol, host or path, and the token must not be
 * sent to another host.
 * @param body the reply to a list request
 * @param key of the list, such as servers: Nova and Neutron have servers_links, Glance has next
 */
export function nextQuery(body: unknown, key: string): URLSearchParams | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const record = body as Record<string, unknown>;
  const href = typeof record.next === 'string' ? record.next : nextLink(record[`${key}_links`]);
  if (href === undefined) return undefined;
  const mark = href.indexOf('?');
  return mark === -1 ? undefined : new URLSearchParams(href.slice(mark + 1));
}

function nextLink(links: unknown): string | undefined {
  if (!Array.isArray(links)) return undefined;
  const next = links.find((link) => typeof link === 'object' && link !== null && link.rel === 'next');
  return typeof next?.href === 'string' ? next.href : undefined;
}

/** Pages of a list; the API returns up to 1,000 entries in each. */
export const mostPages = 200;
