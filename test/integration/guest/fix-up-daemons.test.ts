import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeHostKeys } from '../../../src/services/guest/host-keys.js';

/** Parts of the fix-up script that depend on daemons of the guest, with real processes in their place. */
describe('the fix-up script', () => {
  let dir: string;
  const processes: ReturnType<typeof spawn>[] = [];
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'cwt-fix-up-'));
  });
  afterEach(() => {
    for (const process of processes.splice(0)) process.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  });

  /** A process that shows this command line. */
  async function titled(title: string): Promise<number> {
    const process = spawn('sleep', ['60'], { argv0: title, stdio: 'ignore' });
    processes.push(process);
    const { pid = 0 } = process;
    while (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(title)) await setTimeout(5);
    return pid;
  }
  const part = (name: string): string =>
    readFileSync(`templates/guest/${name}.sh`, 'utf8').replaceAll(/(?<= |<)\/(var|usr|run|sys)\//g, `${dir}/$1/`);
  const sh = (script: string): string => execFileSync('/bin/sh', { input: script, encoding: 'utf8' });
  const write = (path: string, text: string): void => {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
  };

  describe('with new OpenSSH host keys', () => {
    const debian = 'sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups';
    const isAsked = async (title: string): Promise<boolean> => {
      write('run/sshd.pid', `${await titled(title)}\n`);
      return sh(`${part('host-keys')}\nreads_keys_itself || echo HUP\n`) === 'HUP\n';
    };

    it('leaves an sshd alone that reads its keys for each connection', async () => {
      write('var/lib/dpkg/info/openssh-server.list', '');
      expect(await isAsked(debian)).toBe(false);
    });

    it.each([
      ['of OpenSSH 9.8', debian, true],
      ['that serves connections itself', debian.replace('-D', '-D -r'), true],
      ['with other options', debian.replace('-D', '-Dre'), true],
      ['that is another program', 'sleep', true],
      ['of another distribution', debian, false],
    ])('asks an sshd %s to read its keys', async (what, title, isDebian) => {
      if (isDebian) write('var/lib/dpkg/info/openssh-server.list', '');
      if (what.includes('9.8')) write('usr/lib/openssh/sshd-session', '');
      expect(await isAsked(title)).toBe(true);
    });

    it('does nothing without a running sshd', () => {
      expect(sh(`${part('host-keys')}\nreads_keys_itself || hang_up\n`)).toBe('');
    });
  });

  it.each([
    ['does not start networkd again if systemd did', '43\n', ''],
    ['starts networkd if systemd did not', '', '--no-block start systemd-networkd\n'],
    ['starts networkd if the killed one is still there', '42\n', '--no-block start systemd-networkd\n'],
    ['starts networkd if its processes are unknown', undefined, '--no-block start systemd-networkd\n'],
  ])('%s', (_, pids, asked) => {
    if (pids !== undefined) write('sys/fs/cgroup/system.slice/systemd-networkd.service/cgroup.procs', pids);
    expect(sh(`systemctl() { echo "$@"; }\nnetworkd=42\n${part('leases')}\nensure_networkd\n`)).toBe(asked);
  });

  it('reports the key of dropbear without dropbearkey, if there is base64', async () => {
    const [key] = await makeHostKeys(['ssh-ed25519']);
    writeFileSync(join(dir, 'key'), key?.dropbear ?? '');
    const script = `dropbearkey() { echo 'Public key portion is:'; echo 'ssh-ed25519 AAAA root@guest'; }
${part('report')}dropbear_key=${dir}/key\nsay_dropbear_key key\n`;
    expect(sh(script)).toBe(`key ${key?.publicKey}\n`);
    expect(sh(`base64() { return 127; }\n${script}`)).toBe('key ssh-ed25519 AAAA\n');
    // Another file.
    writeFileSync(join(dir, 'key'), 'short');
    expect(sh(script)).toBe('key ssh-ed25519 AAAA\n');
  });

  it('stops networkd in the source VM before a freeze, until it is continued', async () => {
    const pid = await titled('networkd');
    const state = (): string => /^State:\t(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
    const before = part('before-freeze').replace('sleep 20', 'sleep 1');
    expect(before).toContain('sleep 1\n');
    sh(`find_services() { networkd=${pid}; }\n${before}`);
    await expect.poll(state, { interval: 20 }).toBe('T');
    await expect.poll(state, { timeout: 10_000 }).toBe('S');
    // Without networkd, nothing happens.
    expect(sh(`find_services() { :; }\n${before}`)).toBe('');
    expect(state()).toBe('S');
  });
});
