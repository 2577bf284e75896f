import { z } from 'zod';
import { catalogSchema } from './catalog.js';
import type { Login, PasswordLogin } from './settings.js';

/** The body of a request for a token. It contains the secret: it must not be shown anywhere. */
export function loginBody(login: Login): unknown {
  if (login.method === 'application-credential') {
    const { credential, secret } = login;
    const name = 'id' in credential ? credential : { name: credential.name, user: userOf(credential.user) };
    return { auth: { identity: { methods: ['application_credential'], application_credential: { ...name, secret: secret.reveal() } } } };
  }
  const user = { ...userOf(login.user), password: login.password.reveal() };
  return { auth: { identity: { methods: ['password'], password: { user } }, scope: { project: login.project } } };
}

function userOf(user: PasswordLogin['user']): object {
  return 'id' in user ? { id: user.id } : { name: user.name, domain: user.domain };
}

/** The reply to it; the token itself is in the header X-Subject-Token. */
export const tokenSchema = z.object({
  token: z.object({
    issued_at: z.string(),
    expires_at: z.string(),
    project: z.object({ id: z.string(), name: z.string() }).optional(),
    user: z.object({ id: z.string(), name: z.string() }),
    catalog: catalogSchema.optional(),
  }),
});

/** A token is renewed so long before it expires, in ms. */
const reserveMs = 60_000;

/** ms from its receipt for which a token is used. The clock of the cloud may differ from that of this host. */
export function usableMs(issuedAt: string, expiresAt: string): number {
  const life = Date.parse(expiresAt) - Date.parse(issuedAt);
  return Number.isNaN(life) ? 0 : Math.max(0, life - Math.min(reserveMs, life / 2));
}
