import { createPrivateKey, createPublicKey, hkdfSync, type JsonWebKey } from 'node:crypto';

/** A key pair in formats that OpenSSH reads. */
export interface SshKeyPair {
  /** The text of an unencrypted private key file, with a final line break. */
  privateKey: string;
  /** E.g. `ssh-ed25519 AAAA…`, without a comment. */
  publicKey: string;
  /** A private key file of dropbear; ed25519 only. */
  dropbear?: Buffer;
}

const keyType = 'ssh-ed25519';
/** RFC 8410: the prefix of the 32 bytes of an ed25519 private key in PKCS #8. */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Derives a key from a secret and a label. Derived, not random: a member keeps its host key across resets, as it
 * keeps its UUID and its MAC. The same key gives the same text, so that a seed can be compared with the current one;
 * ssh-keygen and libraries put random check numbers into theirs.
 * @param secret at least 32 random bytes
 */
export function deriveSshKey(secret: Buffer, label: string): SshKeyPair {
  const seed = Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), `cowherd ssh ${label}`, 32));
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Head, seed]), format: 'der', type: 'pkcs8' });
  const point = Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x ?? '', 'base64url');
  const publicBlob = Buffer.concat([field(keyType), field(point)]);
  return {
    privateKey: privateKeyFile(seed, point, publicBlob),
    publicKey: `${keyType} ${publicBlob.toString('base64')}`,
    dropbear: Buffer.concat([field(keyType), field(Buffer.concat([seed, point]))]),
  };
}

/** OpenSSH's PROTOCOL.key: one key, no cipher. */
function privateKeyFile(seed: Buffer, point: Buffer, publicBlob: Buffer): string {
  const check = point.subarray(0, 4);
  const secretPart = Buffer.concat([check, check, field(keyType), field(point), field(Buffer.concat([seed, point])), field('')]);
  const padding = Buffer.from(Array.from({ length: (8 - (secretPart.length % 8)) % 8 }, (_, position) => position + 1));
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    uint32(1),
    field(publicBlob),
    field(Buffer.concat([secretPart, padding])),
  ]);
  const lines = file.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n');
}

/** RFC 5656, of a key on the curve P-256. */
export function ecdsaPublicKey({ x = '', y = '' }: JsonWebKey): string {
  const point = Buffer.concat([Buffer.from([4]), ...[x, y].map((part) => Buffer.from(part, 'base64url'))]);
  const blob = Buffer.concat([field('ecdsa-sha2-nistp256'), field('nistp256'), field(point)]);
  return `ecdsa-sha2-nistp256 ${blob.toString('base64')}`;
}

/** RFC 4253. */
export function rsaPublicKey({ e = '', n = '' }: JsonWebKey): string {
  const numbers = [e, n].map((part) => {
    const bytes = Buffer.from(part, 'base64url');
    // The first bit is the sign.
    return field((bytes[0] ?? 0) < 128 ? bytes : Buffer.concat([Buffer.from([0]), bytes]));
  });
  return `ssh-rsa ${Buffer.concat([field('ssh-rsa'), ...numbers]).toString('base64')}`;
}

function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Whether a line is a public key as in authorized_keys (options in front are not accepted). */
export function isPublicKey(line: string): boolean {
  return /^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/]{20,}={0,3}( [^\r\n]*)?$/.test(line);
}
