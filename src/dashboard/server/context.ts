import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { ErrorReport } from '../../core/errors.js';
import type { Host } from '../../host.js';
import type { Access, Denied } from './access/access.js';
import type { Jobs } from './actions/jobs.js';
import type { Live } from './live/live.js';
import { type Page, plainPage } from './page.js';
import type { RefusalStatus } from './refusal.js';

/** Commands in texts repeat the flags of this run. */
export interface FlagText {
  withFlags: (text: string) => string;
  /** In the hints, details and notes of a document. */
  withFlagsIn: (document: unknown) => unknown;
}

/** What the routes need. */
export interface AppParts extends FlagText {
  host: Host;
  access: Access;
  page: Page;
  live: Live;
  jobs: Jobs;
  isReadOnly: boolean;
  /** Called when a token was used. */
  onSignIn: () => void;
  signal: AbortSignal;
}

export interface Env {
  Bindings: HttpBindings;
  Variables: { origin?: string; nonce?: string };
}

export type Call = Context<Env>;

/** Errors are JSON for the API, and a page elsewhere. */
export function answerRefusal(
  { access, withFlagsIn }: Pick<AppParts, 'access' | 'withFlagsIn'>,
  c: Call,
  status: Denied['status'] | RefusalStatus,
  error: ErrorReport,
): Response {
  const told = withFlagsIn({ error }) as { error: ErrorReport };
  if (c.req.path.startsWith(`${access.sessions.base}api/`)) return c.json(told, status);
  const { message, hint } = told.error;
  return c.html(plainPage('cowherd dashboard', hint === undefined ? message : `${message}. ${hint}`), status);
}

export function answerNotFound(parts: Pick<AppParts, 'access' | 'withFlagsIn'>, c: Call): Response {
  return answerRefusal(parts, c, 404, { code: 'NOT_FOUND', message: 'Not found' });
}
