import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { decodeArmor, isArmored } from '../../core/image/download/armor.js';
import { parseSignatureStatus, type SignatureStatus } from '../../core/image/download/signature-status.js';
import type { SignatureCheck, SignatureResult } from '../../ports/downloads.js';
import { makeScratch } from '../host/scratch.js';
import { runTool } from '../process.js';

/** Signatures of lists, checked by gpgv(1) with keys that are on this host. */

/** The keyrings of distributions have less than 2 MiB. */
const maxKeyringBytes = 32 * 1024 ** 2;
const checkMs = 30_000;
const clearSigned = '-----BEGIN PGP SIGNED MESSAGE-----';

/** If this host has gpgv and one of the keyrings, only a good signature counts: otherwise a server could omit or replace it. */
export async function checkSignature({ signed, signature, keyrings }: SignatureCheck): Promise<SignatureResult> {
  const keys = (await Promise.all(keyrings.map(readKeys))).filter((one) => one !== undefined);
  if (keys.length === 0) return { verdict: 'unknown', why: 'the public keys that may have signed it are not on this host' };
  const unusable = signature === undefined ? whyNotClearSigned(signed) : undefined;
  if (unusable !== undefined) return { verdict: 'bad', why: unusable };
  const directory = await makeScratch();
  try {
    const files = { home: join(directory, 'home'), signed: join(directory, 'signed'), signature: join(directory, 'signature') };
    await mkdir(files.home, { mode: 0o700 });
    await writeFile(files.signed, signed, { mode: 0o600 });
    if (signature !== undefined) await writeFile(files.signature, signature, { mode: 0o600 });
    const input = signature === undefined ? [files.signed] : [files.signature, files.signed];
    return await checkWithKeyrings({ directory, home: files.home, input, isInline: signature === undefined }, signed, keys);
  } catch (error) {
    if (error instanceof CowherdError && error.code === 'TOOL_MISSING') return { verdict: 'unknown', why: 'gpgv is not installed' };
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** gpgv would also unpack other messages, of any size. */
function whyNotClearSigned(signed: Buffer): string | undefined {
  const count = signed.toString('latin1').split(clearSigned).length - 1;
  if (count === 0) return 'it is not signed';
  return count > 1 ? 'it contains several signed texts' : undefined;
}

interface Check {
  directory: string;
  home: string;
  input: string[];
  isInline: boolean;
}

async function checkWithKeyrings(check: Check, signed: Buffer, keyrings: readonly Buffer[]): Promise<SignatureResult> {
  let why = '';
  for (const [index, keys] of keyrings.entries()) {
    const keyring = join(check.directory, `keys-${index}.gpg`);
    const output = join(check.directory, `text-${index}`);
    await writeFile(keyring, keys, { mode: 0o600 });
    const status = await runGpgv(check, keyring, output);
    if (status.verdict === 'good') {
      // Text outside the signed one must not be used.
      const text = check.isInline ? await readFile(output, 'utf8') : signed.toString('utf8');
      return { ...status, text };
    }
    if (status.verdict === 'bad') return status;
    why = status.why;
  }
  return { verdict: 'bad', why };
}

/** @returns undefined if the file is missing or contains no keys */
async function readKeys(path: string): Promise<Buffer | undefined> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined || !stats.isFile() || stats.size > maxKeyringBytes) return undefined;
  const keys = await readFile(path).catch(() => undefined);
  if (keys === undefined || !isArmored(keys)) return keys;
  return decodeArmor(keys.toString('latin1'));
}

async function runGpgv({ home, input, isInline }: Check, keyring: string, output: string): Promise<SignatureStatus> {
  const args = ['--homedir', home, '--keyring', keyring, '--status-fd', '1', ...(isInline ? ['--output', output] : []), ...input];
  // Only the status is on standard output: a signed text could imitate it.
  const { stdout, exitCode } = await runTool('gpgv', args, { anyExitCode: true, timeoutMs: checkMs });
  return parseSignatureStatus(stdout, exitCode);
}
