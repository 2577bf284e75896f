import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

export interface Authority {
  /** The certificate of the authority, in PEM format. */
  path: string;
  /** For a server. */
  tls: { key: string; cert: string };
}

/** Creates a certificate authority and a server certificate in a directory. @param names the names of the server */
export async function createAuthority(directory: string, names = 'DNS:localhost,IP:127.0.0.1'): Promise<Authority> {
  const at = (file: string): string => join(directory, `cwt-${file}`);
  const ssl = (...args: string[]) => execa('openssl', args);
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await ssl('req', '-x509', ...curve, '-keyout', at('ca.key'), '-out', at('ca.pem'), '-days', '2', '-subj', '/CN=cwt authority');
  await ssl('req', ...curve, '-keyout', at('server.key'), '-out', at('server.csr'), '-subj', '/CN=localhost');
  await writeFile(at('names'), `subjectAltName=${names}\n`);
  const issue = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', at('names')];
  await ssl('x509', '-req', '-in', at('server.csr'), '-out', at('server.pem'), ...issue);
  const [key, cert] = await Promise.all([readFile(at('server.key'), 'utf8'), readFile(at('server.pem'), 'utf8')]);
  return { path: at('ca.pem'), tls: { key, cert } };
}
