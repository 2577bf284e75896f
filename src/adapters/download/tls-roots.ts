import { readFile } from 'node:fs/promises';
import * as tls from 'node:tls';
import { CowherdError } from '../../core/errors.js';

/** The certificate authorities of the system, which Node.js does not use by default: companies add their own there. */

/** Where distributions keep them: Debian, Fedora, SUSE, Alpine. */
const bundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const;

/** Missing before Node.js 22.15. */
const systemCertificates = (tls as { getCACertificates?: (kind: 'system') => string[] }).getCACertificates;

/** @throws BAD_USAGE if SSL_CERT_FILE or NODE_EXTRA_CA_CERTS names a file that cannot be read */
export async function systemTrust(): Promise<tls.SecureContext> {
  const extra = await namedBundle('NODE_EXTRA_CA_CERTS');
  try {
    // Parsed once for all connections: a bundle has about 150 certificates.
    return tls.createSecureContext({ ca: [...(await systemRoots()), ...(extra === undefined ? [] : [extra])] });
  } catch (cause) {
    if (cause instanceof CowherdError) throw cause;
    throw new CowherdError('BAD_USAGE', `The files with certificate authorities cannot be used: ${(cause as Error).message}`, {
      hint: 'SSL_CERT_FILE and NODE_EXTRA_CA_CERTS name files with certificates in PEM format.',
      cause,
    });
  }
}

async function systemRoots(): Promise<readonly string[]> {
  const named = await namedBundle('SSL_CERT_FILE');
  if (named !== undefined) return [named];
  const known = systemCertificates?.('system') ?? [];
  if (known.length > 0) return known;
  for (const path of bundles) {
    const bundle = await readFile(path, 'utf8').catch(() => undefined);
    if (bundle !== undefined) return [bundle];
  }
  return tls.rootCertificates;
}

async function namedBundle(variable: string): Promise<string | undefined> {
  const path = process.env[variable];
  if (path === undefined || path === '') return undefined;
  return readFile(path, 'utf8').catch((cause: Error) => {
    throw new CowherdError('BAD_USAGE', `The file in ${variable} cannot be read: ${cause.message}`, {
      hint: 'SSL_CERT_FILE and NODE_EXTRA_CA_CERTS name files with certificates in PEM format.',
      cause,
    });
  });
}
