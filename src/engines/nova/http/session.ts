import { CowherdError } from '../../../core/errors.js';
import type { Clock } from '../../../ports/machine.js';
import { apiError } from '../core/api-error.js';
import { type Catalog, endpointOf } from '../core/catalog.js';
import { loginBody, tokenSchema, usableMs } from '../core/login.js';
import { Secret, withoutSecrets } from '../core/secret.js';
import { type CloudSettings, type ServiceType, secretsOf } from '../core/settings.js';
import { connectionError, unexpectedReply } from './failures.js';
import { orAborted, type Retrier } from './retrier.js';
import { type HttpReply, TransportFailure } from './transport.js';

interface Login {
  token: Secret;
  /** Time of the monotonic clock. */
  usableUntil: number;
  catalog: Catalog;
  /** undefined: the token does not say. */
  projectId: string | undefined;
}

/** The token of one user and project. All requests share it; it is renewed before it expires, and when a service refuses it. */
export class Session {
  #login: Promise<Login> | undefined;
  #logins = 0;
  readonly #tokens: Secret[] = [];

  constructor(
    readonly settings: CloudSettings,
    private readonly retrier: Retrier,
    private readonly clock: Clock,
  ) {}

  /** How many tokens were requested. */
  get logins(): number {
    return this.#logins;
  }

  /** What must be removed from messages of the cloud, also tokens that were replaced. */
  get secrets(): Secret[] {
    return [...secretsOf(this.settings), ...this.#tokens];
  }

  /** @throws CONNECTION_FAILED, TOOL_TIMEOUT, TOOL_FAILED, INTERRUPTED */
  async token(signal?: AbortSignal): Promise<Secret> {
    return (await this.#current(signal)).token;
  }

  /** The URL of a service, without a final slash. @throws like token, and NOT_SUPPORTED, BAD_USAGE */
  async endpoint(type: ServiceType, signal?: AbortSignal): Promise<string> {
    return endpointOf((await this.#current(signal)).catalog, type, this.settings);
  }

  /** Id of the project; undefined if the Identity API does not say. @throws like token */
  async projectId(signal?: AbortSignal): Promise<string | undefined> {
    return (await this.#current(signal)).projectId;
  }

  /** A service refused this token. The next call gets another one; a later token stays. */
  async drop(token: Secret): Promise<void> {
    const pending = this.#login;
    const login = await pending?.catch(() => undefined);
    if (login?.token === token && this.#login === pending) this.#login = undefined;
  }

  async #current(signal: AbortSignal | undefined): Promise<Login> {
    const pending = this.#login;
    if (pending !== undefined) {
      const login = await orAborted(pending, signal);
      if (this.clock.monotonic() < login.usableUntil) return login;
      if (this.#login === pending) this.#login = undefined;
    }
    this.#login ??= this.#logIn();
    return orAborted(this.#login, signal);
  }

  #logIn(): Promise<Login> {
    const login = this.#request();
    // The next call tries again.
    login.catch(() => {
      if (this.#login === login) this.#login = undefined;
    });
    return login;
  }

  async #request(): Promise<Login> {
    this.#logins++;
    const { settings } = this;
    const url = new URL(`${settings.authUrl}/auth/tokens`);
    const body = JSON.stringify(loginBody(settings.login));
    const headers = { 'content-type': 'application/json', accept: 'application/json', 'content-length': String(Buffer.byteLength(body)) };
    const limits = { idleMs: 60_000, totalMs: 60_000, maxBytes: 8 * 1024 * 1024 };
    // A second token does no harm.
    const { result } = await this.retrier.send(
      'POST /auth/tokens',
      () => ({ method: 'POST', url, headers, body, isReusing: false, ...limits }),
      'safe',
    );
    const action = `log in to ${settings.title}`;
    if (result instanceof TransportFailure) throw connectionError(action, result, url.host, settings, false);
    if (result.status !== 200 && result.status !== 201) throw this.#refused(action, result);
    return this.#read(action, result);
  }

  #refused(action: string, { status, body, headers }: HttpReply): CowherdError {
    if (status === 404 || status === 300 || status === 405) {
      return new CowherdError('CONNECTION_FAILED', `Could not ${action}: auth_url is not the URL of an Identity API v3`, {
        hint: `Set auth_url (or OS_AUTH_URL) in ${this.settings.source} to the URL that the dashboard shows under API access, such as https://cloud.example.org:5000/v3.`,
      });
    }
    const safe = withoutSecrets(body, this.secrets);
    return apiError({ action, service: 'identity', status, body: safe, requestId: headers['x-openstack-request-id'] });
  }

  #read(action: string, { body, headers }: HttpReply): Login {
    const token = headers['x-subject-token'];
    const parsed = tokenSchema.safeParse(parseJson(body));
    if (token === undefined || token === '' || !parsed.success) throw unexpectedReply(action, 'identity', []);
    const { catalog, issued_at, expires_at, project } = parsed.data.token;
    if (catalog === undefined) {
      throw new CowherdError('BAD_USAGE', `The login to ${this.settings.title} is for no project`, {
        hint: `Set the project (project_name, or OS_PROJECT_NAME) in ${this.settings.source}.`,
      });
    }
    const usableUntil = this.clock.monotonic() + usableMs(issued_at, expires_at);
    const secret = new Secret(token);
    this.#tokens.push(secret);
    return { token: secret, usableUntil, catalog, projectId: project?.id };
  }
}

/** undefined if it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
