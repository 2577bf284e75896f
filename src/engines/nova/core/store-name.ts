import { createHash } from 'node:crypto';
import type { CloudSettings, Login, NameOrId } from './settings.js';

/** Characters of the digest, and of the name before it. */
const digestLength = 12;
const nameLength = 40;

/**
 * Name of the directory for the records of a cloud, as one user in one project: `cloud-example-org-1a2b3c4d5e6f`. It does not depend on
 * how the user names the cloud, since openstack://lab and the OS_* variables may mean the same one, nor on the secret, which changes.
 */
export function storeName({ authUrl, region, login }: Pick<CloudSettings, 'authUrl' | 'region' | 'login'>): string {
  const { hostname } = new URL(authUrl);
  const plain = hostname
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, nameLength);
  const identity = JSON.stringify([authUrl, region ?? null, ...identityOf(login)]);
  return `${plain}-${createHash('sha256').update(identity).digest('hex').slice(0, digestLength)}`;
}

function identityOf(login: Login): unknown[] {
  if (login.method === 'password') return ['password', ...named(login.user), ...named(login.project)];
  const { credential } = login;
  if ('id' in credential) return ['application-credential', 'id', credential.id];
  return ['application-credential', 'name', credential.name, ...named(credential.user)];
}

/** Without the property order of the object, and without anything else that it may contain. */
function named(one: NameOrId | { name: string; domain: NameOrId }): unknown[] {
  if ('id' in one) return ['id', one.id];
  return ['name', one.name, ...('domain' in one ? named(one.domain) : [])];
}
