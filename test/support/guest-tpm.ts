/** TPM 2.0 commands as hexadecimal digits, for guests without tools for a TPM. Source: TPM 2.0 Library, part 3. */

const u16 = (value: number): string => value.toString(16).padStart(4, '0');
const u32 = (value: number): string => value.toString(16).padStart(8, '0');
/** Bytes with their length before them. */
const sized = (hex: string): string => u16(hex.length / 2) + hex;

const owner = u32(0x4000_0001);
/** The handle that Linux gives to the first object that a process loads. */
const loaded = u32(0x80ff_ffff);
/** Where the storage root key is kept. */
const storageKey = u32(0x8100_0001);
/** The endorsement key of swtpm_setup. */
const endorsementKey = u32(0x8101_0001);
const sha256 = u16(0x000b);
const none = u16(0x0010);
/** A password session with an empty password. */
const password = `${u32(9)}${u32(0x4000_0009)}0000000000`;

function command(code: number, isAuthorized: boolean, handle: string, parameters: string): string {
  const body = u32(code) + handle + (isAuthorized ? password : '') + parameters;
  return u16(isAuthorized ? 0x8002 : 0x8001) + u32(6 + body.length / 2) + body;
}

/** The public part of the endorsement key. */
export const readEndorsementKey = command(0x173, false, endorsementKey, '');

/** Creates a storage root key (ECC), and keeps it in the TPM. */
export const keepStorageKey = [
  command(
    0x131,
    true,
    owner,
    sized('00000000') + sized(`0023${sha256}${u32(0x3_0072)}0000000600800043${none}0003${none}00000000`) + u16(0) + u32(0),
  ),
  command(0x120, true, owner + loaded, storageKey),
];

/** @param digest 32 bytes */
export const extendPcr = (pcr: number, digest: string): string => command(0x182, true, u32(pcr), u32(1) + sha256 + digest);

/** Seals a text with the storage root key. */
export const seal = (text: string): string =>
  command(
    0x153,
    true,
    storageKey,
    sized(u16(0) + sized(Buffer.from(text).toString('hex'))) + sized(`0008${sha256}${u32(0x52)}0000${none}0000`) + u16(0) + u32(0),
  );

/** @param sealed the answer to {@link seal} */
export function unseal(sealed: string): string[] {
  const [first, afterPrivate] = take(sealed, 28);
  const [second] = take(sealed, afterPrivate);
  return [command(0x157, true, storageKey, sized(first) + sized(second)), command(0x15e, true, loaded, '')];
}

/** @param answer to the second command of {@link unseal} */
export const unsealed = (answer: string): string => Buffer.from(take(answer, 28)[0], 'hex').toString();

/** Bytes with their length before them. @param at offset, in digits @returns them, and the offset after them */
function take(hex: string, at: number): [string, number] {
  const start = at + 4;
  const end = start + Number.parseInt(hex.slice(at, start), 16) * 2;
  return [hex.slice(start, end), end];
}

/** A shell command that prints the answers, one per line. Each command must reach the device in one write. */
export function inGuest(...commands: string[]): string {
  const each = `printf %s "$one" | xxd -r -p >&3; dd bs=4096 count=1 <&3 2>/dev/null | xxd -p | tr -d '\\n'; echo`;
  return `exec 3<>/dev/tpmrm0 && for one in ${commands.join(' ')}; do ${each}; done`;
}

/** Whether the TPM executed the command. */
export const isDone = (answer: string): boolean => answer.slice(12, 20) === '00000000';
