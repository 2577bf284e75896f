import { execa } from 'execa';

/** The ed25519 key of a server: type and key. Some releases of ssh-keyscan also print comments. */
export async function shownKey(host: string, port = 22): Promise<string> {
  const { stdout } = await execa('ssh-keyscan', ['-t', 'ed25519', '-T', '60', '-p', String(port), host]);
  const line = stdout.split('\n').find((text) => text !== '' && !text.startsWith('#')) ?? '';
  return line.split(' ').slice(1).join(' ');
}
