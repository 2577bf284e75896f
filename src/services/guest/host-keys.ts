import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { deriveSshKey, ecdsaPublicKey, rsaPublicKey, type SshKeyPair } from '../../core/guest/ssh-keys.js';

/** Generates ssh host keys on the host: an RSA key takes seconds on an emulated CPU, a tenth of that on a real one. */

const makePair = promisify(generateKeyPair);
/** Default of ssh-keygen. */
const rsaBits = 3072;

/** @returns a key of each supported type; the guest generates the others itself */
export async function makeHostKeys(types: readonly string[]): Promise<SshKeyPair[]> {
  const keys = await Promise.all([...new Set(types)].map(makeHostKey));
  return keys.filter((key) => key !== undefined);
}

async function makeHostKey(type: string): Promise<SshKeyPair | undefined> {
  if (type === 'ssh-ed25519') return deriveSshKey(randomBytes(32), 'host');
  if (type === 'ecdsa-sha2-nistp256') {
    const { privateKey, publicKey } = await makePair('ec', { namedCurve: 'P-256' });
    return {
      privateKey: String(privateKey.export({ format: 'pem', type: 'sec1' })),
      publicKey: ecdsaPublicKey(publicKey.export({ format: 'jwk' })),
    };
  }
  if (type === 'ssh-rsa') {
    const { privateKey, publicKey } = await makePair('rsa', { modulusLength: rsaBits });
    return {
      privateKey: String(privateKey.export({ format: 'pem', type: 'pkcs1' })),
      publicKey: rsaPublicKey(publicKey.export({ format: 'jwk' })),
    };
  }
  return undefined;
}
