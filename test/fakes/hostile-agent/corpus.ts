import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { brokenReplies, brokenSyncs, largeReplies, libvirtWords, replyTo, returns } from './replies.js';
import { canary, hostileLines, hostileText } from './text.js';

/** Files for the image of a hostile guest, see root/usr/bin/qemu-ga. */

const here = fileURLToPath(new URL('root', import.meta.url));

/** Number of generated replies to each command. */
const replyCounts: Record<string, number> = {
  'guest-network-get-interfaces': 160,
  'guest-exec-status': 160,
  'guest-exec': 40,
  'guest-file-read': 60,
  'guest-file-open': 30,
  'guest-file-write': 30,
};
const otherReplies = 20;

/** Valid replies, so that a command reaches the next call. */
const good: Record<string, string> = {
  'guest-ping': '{}',
  'guest-network-get-interfaces': '[]',
  'guest-exec': '{"pid":1}',
  'guest-exec-status': '{"exited":true,"exitcode":0,"out-data":"b2sK"}',
  'guest-file-open': '1000',
  'guest-file-read': '{"count":3,"buf-b64":"b2sK","eof":true}',
  'guest-file-write': '{"count":3,"eof":false}',
  'guest-file-flush': '{}',
  'guest-file-close': '{}',
  'guest-shutdown': '{}',
};

/** An address that tries to make ssh run a command. */
export const exploit = `10.9.9.9\n  ProxyCommand touch ${canary}\n#`;

/** Specific replies, by command and name. */
const special: Record<string, Record<string, string>> = {
  'guest-network-get-interfaces': {
    exploit: JSON.stringify([
      { name: 'eth0', 'hardware-address': '@MAC@', 'ip-addresses': [{ 'ip-address': exploit, 'ip-address-type': 'ipv4' }] },
    ]),
  },
  'guest-exec-status': {
    'never-ends': '{"exited":false}',
    // Like the output of templates/guest/main.sh.
    'no-identity': `{"exited":true,"exitcode":0,"out-data":"${Buffer.from('cowherd-self 1\nhostname \u001b[2J\nclock x\ncowherd-end\n').toString('base64')}"}`,
  },
  'guest-file-read': { 'never-ends': `{"count":3,"buf-b64":"${'QUFB'.repeat(16_384)}","eof":false}` },
};

/** The real address, so that ssh reaches the guest. */
const realAddress = `printf '{"return":[{"name":"eth0","hardware-address":"@MAC@","ip-addresses":[{"ip-address-type":"ipv4","ip-address":"%s"}]}]}\\n' "$(ip -4 -o addr show eth0 | sed 's/.*inet //; s/[/].*//; q')"`;

/** Fills the directory that build.sh takes with --add. The same seed gives the same files. */
export async function writeCorpus(directory: string, seed: number): Promise<void> {
  await cp(here, directory, { recursive: true });
  const root = join(directory, 'usr/lib/hostile');
  await mkdir(root, { recursive: true });
  // Default until a test changes it.
  await writeFile(join(root, 'script'), 'guest-ping=good');
  for (const [position, command] of Object.keys(returns).entries()) {
    const replies = fc.sample(replyTo(command), { seed: seed + position, numRuns: replyCounts[command] ?? otherReplies });
    await putReplies(join(root, command), [
      ['good', `{"return":${good[command]}}\n`],
      ...replies.map((reply, at): [string, string] => [String(at).padStart(3, '0'), `${reply}\n`]),
      ...Object.entries(brokenReplies).map(([name, reply]): [string, string] => [`${name}!`, reply]),
      ...Object.entries(largeReplies).map(([name, shell]): [string, string] => [`${name}+`, shell]),
      ...Object.entries(special[command] ?? {}).map(([name, value]): [string, string] => [name, `{"return":${value}}\n`]),
      ...libvirtWords.map((desc, at): [string, string] => [
        `libvirt-${at}`,
        `${JSON.stringify({ error: { class: 'GenericError', desc } })}\n`,
      ]),
      ['none', ''],
    ]);
  }
  await putReplies(join(root, 'guest-network-get-interfaces'), [['real+', realAddress]]);
  await putReplies(
    join(root, 'guest-sync'),
    Object.entries(brokenSyncs).map(([name, shell]) => [`${name}+`, shell]),
  );
  await writeFile(join(root, 'console'), Buffer.from(fc.sample(hostileLines, { seed, numRuns: 200 }).join('\n'), 'utf8'));
  await writeFile(join(root, 'hostname'), fc.sample(hostileText, { seed, numRuns: 1 })[0] ?? '');
  await chmod(join(directory, 'usr/bin/qemu-ga'), 0o755);
}

async function putReplies(directory: string, files: Array<[string, string]>): Promise<void> {
  await mkdir(directory, { recursive: true });
  await Promise.all(files.map(([name, content]) => writeFile(join(directory, name), Buffer.from(content, 'latin1'))));
}
