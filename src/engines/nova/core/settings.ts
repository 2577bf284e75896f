import type { Secret } from './secret.js';

export type EndpointInterface = 'public' | 'internal' | 'admin';

/** A name or an id, as the Identity API takes it. */
export type NameOrId = { id: string } | { name: string };

export interface PasswordLogin {
  method: 'password';
  /** A user with a name needs its domain. */
  user: { id: string } | { name: string; domain: NameOrId };
  password: Secret;
  project: { id: string } | { name: string; domain: NameOrId };
}

/** The project is part of the credential. */
export interface ApplicationCredentialLogin {
  method: 'application-credential';
  credential: { id: string } | { name: string; user: PasswordLogin['user'] };
  secret: Secret;
}

export type Login = PasswordLogin | ApplicationCredentialLogin;

export interface TlsSettings {
  /** false: certificates are not checked. */
  isVerified: boolean;
  /** Absolute paths of PEM files: CAs, and certificate and key of the client. */
  caFile?: string;
  certFile?: string;
  keyFile?: string;
}

export type ServiceType = 'compute' | 'image' | 'network';

/** How to reach a cloud, and as which user. */
export interface CloudSettings {
  /** For messages: "cloud lab" or "the cloud of the OS_* variables". */
  title: string;
  /** The file with the settings, or "the environment". */
  source: string;
  /** URL of the Identity API, ends with /v3. */
  authUrl: string;
  login: Login;
  /** undefined: the only region of the service catalog. */
  region?: string;
  interface: EndpointInterface;
  tls: TlsSettings;
  /** URLs that replace those of the service catalog. */
  endpoints: Partial<Record<ServiceType, string>>;
}

/** The secrets of a login, to remove them from texts. */
export function secretsOf({ login }: CloudSettings): Secret[] {
  return [login.method === 'password' ? login.password : login.secret];
}
