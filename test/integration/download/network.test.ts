import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Authority, createAuthority } from '../../support/download/authority.js';
import { FileServer, imageContent, sha256 } from '../../support/download/file-server.js';
import { ProxyServer } from '../../support/download/proxy-server.js';
import { DownloadLab } from './setup.js';

const content = imageContent(300_000);
const digest = sha256(content);
const variables = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'];
let lab: DownloadLab;
beforeEach(async () => {
  for (const name of variables) for (const one of [name, name.toLowerCase()]) vi.stubEnv(one, '');
  lab = await DownloadLab.open();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await lab.close();
});

/** An https server with a certificate of an authority that the system does not know. */
async function withTls(work: (server: FileServer, authority: Authority) => Promise<void>, names?: string): Promise<void> {
  const authority = await createAuthority(lab.store, names);
  const server = await FileServer.start({ tls: authority.tls });
  try {
    await work(server, authority);
  } finally {
    await server.close();
  }
}

describe('https', () => {
  it('refuses an unknown authority at once, and says how to add it', async () => {
    await withTls(async (server, authority) => {
      const url = server.serve('/a.img', content);
      const refusal = await lab.refusal(url);
      expect(refusal).toMatchObject({
        code: 'DOWNLOAD_FAILED',
        message: expect.stringContaining('certificate of the server cannot be verified'),
      });
      expect(refusal.hint).toMatch(/SSL_CERT_FILE=FILE .* NODE_EXTRA_CA_CERTS=FILE/);
      expect(lab.notes).toEqual([]);
      for (const variable of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']) {
        vi.stubEnv('SSL_CERT_FILE', '');
        vi.stubEnv(variable, authority.path);
        const trusting = await DownloadLab.open();
        expect(await trusting.fetch(url)).toMatchObject({ sha256: digest });
        await trusting.close();
      }
    });
  });

  it('refuses a certificate of another host', async () => {
    await withTls(async (server, authority) => {
      vi.stubEnv('SSL_CERT_FILE', authority.path);
      const url = server.serve('/a.img', content);
      expect(await lab.refusal(url)).toMatchObject({ message: expect.stringContaining('certificate of the server cannot be verified') });
      expect(await lab.fetch(server.url('/a.img', 'localhost'))).toMatchObject({ sha256: digest });
    }, 'DNS:localhost');
  });

  it('is never redirected to http', async () => {
    await withTls(async (server, authority) => {
      vi.stubEnv('SSL_CERT_FILE', authority.path);
      const to = lab.server.serve('/a.img', content);
      const url = server.serve('/a.img', { content, always: { kind: 'redirect', to } });
      expect(await lab.refusal(url)).toMatchObject({
        code: 'DOWNLOAD_FAILED',
        message: `Could not download ${url}: the server redirects from https to http: ${to}`,
      });
      expect(lab.server.requests).toEqual([]);
    });
  });

  it.each(['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'])('refuses an unusable %s', async (variable) => {
    vi.stubEnv(variable, join(lab.store, 'missing.pem'));
    expect(await lab.refusal(lab.server.serve('/a.img', content))).toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining(variable),
    });
  });
});

describe('a proxy', () => {
  it.each(['HTTP_PROXY', 'http_proxy'])('in %s forwards http', async (variable) => {
    const proxy = await ProxyServer.start();
    vi.stubEnv(variable, proxy.url.replace('http://', ''));
    const url = lab.server.serve('/a.img', { content, faults: [{ kind: 'cut', after: 100_000 }] });
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    expect(proxy.requests).toEqual([`GET ${url}`, `GET ${url}`]);
    await proxy.close();
  });

  it.each(['HTTPS_PROXY', 'https_proxy'])('in %s tunnels https, and the certificate is verified', async (variable) => {
    await withTls(async (server, authority) => {
      const proxy = await ProxyServer.start();
      vi.stubEnv(variable, proxy.url);
      const url = server.serve('/a.img', content);
      expect(await lab.refusal(url)).toMatchObject({ message: expect.stringContaining('certificate of the server cannot be verified') });
      vi.stubEnv('SSL_CERT_FILE', authority.path);
      const trusting = await DownloadLab.open();
      expect(await trusting.fetch(url)).toMatchObject({ sha256: digest });
      expect(new Set(proxy.requests)).toEqual(new Set([`CONNECT 127.0.0.1:${server.port}`]));
      await trusting.close();
      await proxy.close();
    });
  });

  it.each(['127.0.0.1', '*', 'example.org, 127.0.0.1'])('is not used for NO_PROXY=%s', async (hosts) => {
    const proxy = await ProxyServer.start();
    vi.stubEnv('HTTP_PROXY', proxy.url);
    // An empty lower-case variable would hide it.
    delete process.env.no_proxy;
    vi.stubEnv('NO_PROXY', hosts);
    expect(await lab.fetch(lab.server.serve('/a.img', content))).toMatchObject({ sha256: digest });
    expect(proxy.requests).toEqual([]);
    await proxy.close();
  });

  it('may need a login, which no message shows', async () => {
    const proxy = await ProxyServer.start({ login: 'me:s@cret' });
    const url = lab.server.serve('/a.img', content);
    for (const login of ['', 'me:wrong@']) {
      vi.stubEnv('HTTP_PROXY', proxy.url.replace('://', `://${login}`));
      const refusal = await lab.refusal(url);
      expect(refusal).toMatchObject({
        message: expect.stringContaining('407'),
        hint: expect.stringContaining('HTTPS_PROXY=http://USER:PASSWORD@'),
      });
      expect(JSON.stringify(refusal)).not.toContain('wrong');
    }
    expect(proxy.requests).toHaveLength(2);
    vi.stubEnv('HTTP_PROXY', proxy.url.replace('://', '://me:s%40cret@'));
    expect(await lab.fetch(url)).toMatchObject({ sha256: digest });
    await proxy.close();
  });

  it('may need a login for a tunnel', async () => {
    await withTls(async (server) => {
      const proxy = await ProxyServer.start({ login: 'me:s@cret' });
      vi.stubEnv('HTTPS_PROXY', proxy.url);
      expect(await lab.refusal(server.serve('/a.img', content))).toMatchObject({
        message: expect.stringContaining('the proxy replied with status 407'),
      });
      expect(proxy.requests).toHaveLength(1);
      await proxy.close();
    });
  });

  it.each(['http://', 'gopher://x', 'http://me:%zz@host'])('refuses the address %s without showing it', async (address) => {
    vi.stubEnv('HTTPS_PROXY', address);
    const { code, message } = await lab.refusal(lab.server.serve('/a.img', content));
    expect([code, message]).toEqual(['BAD_USAGE', 'The value of HTTPS_PROXY is not the address of a proxy']);
  });

  it('that cannot be reached fails like a server', async () => {
    vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:9');
    expect(await lab.refusal(lab.server.serve('/a.img', content))).toMatchObject({ message: expect.stringContaining('refused') });
    expect(lab.notes).toHaveLength(4);
  });
});
