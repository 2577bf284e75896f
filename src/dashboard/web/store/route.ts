/** What the part after # of the address shows. */
export type Route = { page: 'fleets' } | { page: 'fleet'; fleet: string } | { page: 'member'; fleet: string; index: number };

export function routeOf(hash: string): Route {
  const [, kind, name, index] = hash.replace(/^#/, '').split('/');
  const fleet = kind === 'fleet' && name !== undefined ? decoded(name) : '';
  if (fleet === '') return { page: 'fleets' };
  return index !== undefined && /^\d{1,7}$/.test(index) ? { page: 'member', fleet, index: Number(index) } : { page: 'fleet', fleet };
}

export function fleetLink(fleet: string): string {
  return `#/fleet/${encodeURIComponent(fleet)}`;
}

export function memberLink(fleet: string, index: number): string {
  return `${fleetLink(fleet)}/${index}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
