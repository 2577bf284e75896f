import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Cloud, openCloud } from '../../../../src/engines/nova/cloud.js';
import { findSettings } from '../../../../src/engines/nova/settings/find-settings.js';
import { FastClock } from '../../../fakes/openstack/open-fake.js';

/** An Identity API with a certificate that no public CA has signed. */
let directory: string;
let server: Server;
let logins = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cwt-tls-'));
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=cwt'];
  await execa('openssl', [...args, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'key.pem', '-out', 'cert.pem'], { cwd: directory });
  const [key, cert] = await Promise.all(['key.pem', 'cert.pem'].map((name) => readFile(join(directory, name))));
  server = createServer(
    { ...(key && { key }), ...(cert && { cert }), requestCert: true, rejectUnauthorized: false },
    (_request, response) => {
      logins++;
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"error": {"message": "reached"}}');
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

async function open(variables: Record<string, string>): Promise<Cloud> {
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/v3`;
  const environment = { OS_AUTH_URL: url, OS_USERNAME: 'u', OS_PASSWORD: 'correct-horse', OS_PROJECT_NAME: 'p', ...variables };
  return openCloud(await findSettings('openstack:///', { environment, workingDirectory: directory }), { clock: new FastClock() });
}

it('an unknown CA is refused at once, before the password is sent', async () => {
  const before = logins;
  await expect((await open({})).projectId()).rejects.toMatchObject({
    ...{ code: 'CONNECTION_FAILED', message: expect.stringContaining('TLS failed'), hint: expect.stringContaining('cacert') },
  });
  expect(logins).toBe(before);
});

it.each([
  ['its file', { OS_CACERT: 'cert.pem' }],
  ['no check', { OS_INSECURE: '1' }],
  ['a certificate of the client', { OS_CACERT: 'cert.pem', OS_CERT: 'cert.pem', OS_KEY: 'key.pem' }],
])('is accepted with %s', async (_name, variables) => {
  await expect((await open(variables)).projectId()).rejects.toMatchObject({ message: expect.stringContaining('reached') });
});

it('a CA file that is missing or empty is an error', async () => {
  await expect(open({ OS_CACERT: 'missing.pem' })).rejects.toMatchObject({
    code: 'FILE_NOT_FOUND',
    hint: expect.stringContaining('cacert'),
  });
  await writeFile(join(directory, 'empty.pem'), '');
  await expect((await open({ OS_CACERT: 'empty.pem' })).projectId()).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
});
