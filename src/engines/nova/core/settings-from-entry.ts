import { isAbsolute, join } from 'node:path';
import { CowherdError } from '../../../core/errors.js';
import { Secret } from './secret.js';
import type { CloudSettings, EndpointInterface, Login, PasswordLogin, TlsSettings } from './settings.js';
import { type AuthFields, booleanOf, type CloudEntry, domainOf } from './settings-entry.js';

/** Where an entry is from. */
export interface EntryOrigin {
  /** "cloud lab" or "the cloud of the OS_* variables". */
  title: string;
  /** The file, or "the environment". */
  source: string;
  /** Name of a field as the user writes it there: auth.username in the file, OS_USERNAME in the environment. */
  nameOf(field: string): string;
  /** For file names with ~. */
  home: string;
  /** For relative file names. */
  directory: string;
}

/**
 * Checks an entry. Values are not quoted in errors, since they may be secrets in the wrong place.
 * @throws BAD_USAGE; NOT_SUPPORTED for other kinds of login
 */
export function settingsOf(entry: CloudEntry, origin: EntryOrigin): CloudSettings {
  const { title, source } = origin;
  if (entry.identity_api_version !== undefined && !/^(v?3)(\.\d+)?$/.test(entry.identity_api_version)) {
    throw new CowherdError('NOT_SUPPORTED', `${capital(title)} uses another version of the Identity API than 3`, {
      hint: `Set ${origin.nameOf('identity_api_version')} to 3 in ${source}.`,
    });
  }
  const region = entry.region_name ?? (entry.regions?.length === 1 ? entry.regions[0] : undefined);
  return {
    title,
    source,
    authUrl: identityUrl(entry, origin),
    login: loginOf(entry, origin),
    ...(region === undefined ? {} : { region }),
    interface: interfaceOf(entry, origin),
    tls: tlsOf(entry, origin),
    endpoints: endpointsOf(entry, origin),
  };
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function missing(field: string, origin: EntryOrigin): CowherdError {
  const hint =
    origin.source === 'the environment'
      ? 'Source the openrc file of your project again, or use openstack://CLOUD with a cloud of clouds.yaml.'
      : `Add ${origin.nameOf(field)} to ${origin.title} in ${origin.source}; secrets can be in secure.yaml beside it.`;
  return new CowherdError('BAD_USAGE', `${capital(origin.title)} has no ${origin.nameOf(field)}`, { hint });
}

function identityUrl({ auth, profile }: CloudEntry, origin: EntryOrigin): string {
  if (auth.auth_url === undefined && profile !== undefined) {
    throw new CowherdError('NOT_SUPPORTED', `${capital(origin.title)} takes its settings from a vendor profile, which is not read`, {
      hint: `Add auth.auth_url and region_name of that profile to ${origin.title} in ${origin.source}.`,
    });
  }
  if (auth.auth_url === undefined) throw missing('auth_url', origin);
  const url = httpUrl(auth.auth_url, 'auth_url', origin).replace(/\/+$/, '');
  if (/\/v2\.0$/.test(url)) {
    throw new CowherdError('NOT_SUPPORTED', `${capital(origin.title)} uses version 2.0 of the Identity API`, {
      hint: `Change /v2.0 to /v3 in ${origin.nameOf('auth_url')} in ${origin.source}.`,
    });
  }
  return /\/v3$/.test(url) ? url : `${url}/v3`;
}

function httpUrl(value: string, field: string, origin: EntryOrigin): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || url.search !== '') {
    throw new CowherdError('BAD_USAGE', `${origin.nameOf(field)} in ${origin.source} is not an http or https URL without user and query`, {
      hint: `Set ${origin.nameOf(field)} to a URL such as https://cloud.example.org:5000/v3.`,
    });
  }
  return url.href;
}

const passwordTypes = new Set(['password', 'v3password']);
const credentialTypes = new Set(['v3applicationcredential', 'application_credential']);

function loginOf(entry: CloudEntry, origin: EntryOrigin): Login {
  const { auth } = entry;
  const hasCredential = auth.application_credential_id !== undefined || auth.application_credential_name !== undefined;
  const type = entry.auth_type ?? (hasCredential ? 'v3applicationcredential' : 'password');
  if (credentialTypes.has(type)) return credentialOf(auth, origin);
  if (passwordTypes.has(type)) return passwordOf(auth, origin);
  throw new CowherdError('NOT_SUPPORTED', `${capital(origin.title)} uses a kind of login that is not supported`, {
    hint: `Create an application credential ("openstack application credential create NAME") and use it in ${origin.source}, with ${origin.nameOf('auth_type')} v3applicationcredential.`,
  });
}

function userOf(auth: AuthFields, origin: EntryOrigin): PasswordLogin['user'] {
  if (auth.user_id !== undefined) return { id: auth.user_id };
  if (auth.username === undefined) throw missing('username', origin);
  return { name: auth.username, domain: domainOf(auth.user_domain_id, auth.user_domain_name, auth) };
}

function passwordOf(auth: AuthFields, origin: EntryOrigin): Login {
  const user = userOf(auth, origin);
  if (auth.password === undefined) throw missing('password', origin);
  const id = auth.project_id ?? auth.tenant_id;
  const name = auth.project_name ?? auth.tenant_name;
  if (id === undefined && name === undefined) throw missing('project_name', origin);
  const project =
    id === undefined ? { name: name ?? '', domain: domainOf(auth.project_domain_id, auth.project_domain_name, auth) } : { id };
  return { method: 'password', user, password: new Secret(auth.password), project };
}

function credentialOf(auth: AuthFields, origin: EntryOrigin): Login {
  const { application_credential_id: id, application_credential_name: name, application_credential_secret: secret } = auth;
  if (id === undefined && name === undefined) throw missing('application_credential_id', origin);
  if (secret === undefined) throw missing('application_credential_secret', origin);
  const credential = id === undefined ? { name: name ?? '', user: userOf(auth, origin) } : { id };
  return { method: 'application-credential', credential, secret: new Secret(secret) };
}

function interfaceOf(entry: CloudEntry, origin: EntryOrigin): EndpointInterface {
  const value = entry.interface ?? entry.endpoint_type ?? 'public';
  const name = /^(public|internal|admin)(URL)?$/.exec(value)?.[1];
  if (name === undefined) {
    throw new CowherdError('BAD_USAGE', `${origin.nameOf('interface')} in ${origin.source} is not an interface of endpoints`, {
      hint: `Set ${origin.nameOf('interface')} to public, internal or admin.`,
    });
  }
  return name as EndpointInterface;
}

function tlsOf(entry: CloudEntry, origin: EntryOrigin): TlsSettings {
  const isInsecure = booleanOf(entry.insecure, origin.nameOf('insecure'), origin.source);
  const verify = booleanOf(entry.verify, origin.nameOf('verify'), origin.source);
  const path = (file: string): string => {
    if (file.startsWith('~/')) return join(origin.home, file.slice(2));
    return isAbsolute(file) ? file : join(origin.directory, file);
  };
  if (entry.key !== undefined && entry.cert === undefined) throw missing('cert', origin);
  return {
    isVerified: verify ?? !(isInsecure ?? false),
    ...(entry.cacert === undefined ? {} : { caFile: path(entry.cacert) }),
    ...(entry.cert === undefined ? {} : { certFile: path(entry.cert) }),
    ...(entry.key === undefined ? {} : { keyFile: path(entry.key) }),
  };
}

function endpointsOf(entry: CloudEntry, origin: EntryOrigin): CloudSettings['endpoints'] {
  const endpoints: CloudSettings['endpoints'] = {};
  for (const type of ['compute', 'image', 'network'] as const) {
    const field = `${type}_endpoint_override` as const;
    const value = entry[field];
    if (value !== undefined) endpoints[type] = httpUrl(value, field, origin).replace(/\/+$/, '');
  }
  return endpoints;
}
