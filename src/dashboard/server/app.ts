import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { securityHeaders } from './access/headers.js';
import { apiRoutes } from './api.js';
import { type AppParts, answerNotFound, answerRefusal, type Call, type Env } from './context.js';
import { plainPage } from './page.js';
import { refusalOf } from './refusal.js';

export function requestListener(parts: AppParts): ReturnType<typeof getRequestListener> {
  return getRequestListener(appOf(parts).fetch, { overrideGlobalObjects: false });
}

/** The header by which Hono's server recognizes an answer that was written to the connection directly. */
const alreadySent = 'x-hono-already-sent';

function appOf(parts: AppParts): Hono<Env> {
  const { access, page } = parts;
  const { base } = access.sessions;
  const app = new Hono<Env>();
  app.use('*', async (c, next) => {
    await next();
    if (c.res.headers.has(alreadySent)) return;
    for (const [name, value] of Object.entries(securityHeaders(c.get('origin'), c.get('nonce')))) {
      if (!c.res.headers.has(name)) c.res.headers.set(name, value);
    }
  });
  app.get('/', (c) => signIn(parts, c));
  app.use('*', async (c, next) => {
    const admission = access.admit(c.env.incoming);
    if (!('origin' in admission)) return answerRefusal(parts, c, admission.status, admission.error);
    c.set('origin', admission.origin);
    return next();
  });
  app.route(`${base}api`, apiRoutes(parts));
  app.get(`${base}*`, (c) => {
    const file = page.get(c.req.path.slice(base.length));
    if (file === undefined) return answerNotFound(parts, c);
    if (file.nonce !== undefined) c.set('nonce', file.nonce);
    if (file.isHashed) c.header('Cache-Control', 'private, max-age=31536000, immutable');
    return c.body(file.body, 200, { 'Content-Type': file.type });
  });
  app.notFound((c) => answerNotFound(parts, c));
  app.onError((error, c) => {
    const { status, error: report } = refusalOf(error);
    return answerRefusal(parts, c, status, report);
  });
  return app;
}

function signIn(parts: AppParts, c: Call): Response {
  const { access, onSignIn } = parts;
  const token = c.req.query('token');
  if (token === undefined) return answerNotFound(parts, c);
  const signedIn = access.signIn(c.env.incoming, token);
  if (!('cookie' in signedIn)) return answerRefusal(parts, c, signedIn.status, signedIn.error);
  onSignIn();
  c.header('Set-Cookie', signedIn.cookie);
  // After a redirect from another site, a browser would not send the cookie.
  const from = c.req.header('sec-fetch-site');
  if (from === undefined || from === 'none' || from === 'same-origin') return c.redirect(access.sessions.base, 303);
  return c.html(plainPage('cowherd dashboard', 'Opening the dashboard.', access.sessions.base));
}
