import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { formatInventory, type Inventory } from '../../../../src/core/fleet/inventory.js';
import { execCommand, parseExecStatus, parseInterfaces } from '../../../../src/core/guest/agent.js';
import { planCopy } from '../../../../src/core/guest/copy.js';
import { parseWaitFor, parseWaitRequest, resolveWait } from '../../../../src/core/guest/stages.js';
import { parseIpv4 } from '../../../../src/core/guest/values.js';
import { commandOf } from '../../../../src/services/guest/exec.js';

describe('what to wait for', () => {
  it.each([
    ['running', ['running']],
    ['ssh', ['address', 'ssh']],
    ['cloud-init,agent', ['agent', 'cloud-init']],
    ['agent,console=a,b', ['console', 'agent']],
  ])('%s', (text, stages) => {
    expect(parseWaitFor(text).stages).toEqual(stages);
  });

  it('may be a console line with commas in it', () => {
    expect(parseWaitFor('console=a,b').pattern?.source).toBe('a,b');
    expect(parseWaitFor('ssh').pattern).toBeUndefined();
  });

  it.each(['', 'ready', 'ssh,redy', 'console=', 'console', 'console=['])('is not %s', (text) => {
    expect(() => parseWaitFor(text)).toThrow(expect.objectContaining({ code: 'BAD_USAGE', hint: expect.any(String) }));
  });
});

describe('--wait auto', () => {
  const auto = parseWaitRequest('auto');

  it('is the stage that the base image names', () => {
    expect(resolveWait(auto, 'debian@1', 'ssh')).toEqual(parseWaitFor('ssh'));
    expect(resolveWait(parseWaitRequest('agent'), 'debian@1', 'ssh')).toEqual(parseWaitFor('agent'));
    expect(resolveWait(undefined, 'debian@1', 'ssh')).toBeUndefined();
  });

  it('is an error that names the stages if the image names none', () => {
    expect(() => resolveWait(auto, 'golden@1', undefined)).toThrow(
      expect.objectContaining({
        code: 'BAD_USAGE',
        message: expect.stringContaining('golden@1'),
        hint: expect.stringContaining('--wait agent'),
      }),
    );
  });

  it('cannot be one of several', () => {
    expect(() => parseWaitRequest('auto,ssh')).toThrow(expect.objectContaining({ code: 'BAD_USAGE' }));
  });

  it('is the agent, and cloud-init if the image names it, for a VM that is cloned', () => {
    for (const stage of [undefined, 'ssh', 'agent'] as const)
      expect(resolveWait({ stages: 'auto', withAgent: true }, 'golden@1', stage)?.stages).toEqual(['agent']);
    expect(resolveWait({ stages: 'auto', withAgent: true }, 'golden@1', 'cloud-init')?.stages).toEqual(['agent', 'cloud-init']);
  });
});

describe('a copy', () => {
  it('has one side in a guest', () => {
    expect(planCopy('a.txt', 'lab:/tmp/')).toEqual({ direction: 'to', target: 'lab', local: 'a.txt', remote: '/tmp/' });
    expect(planCopy('lab-001:/a', '.')).toEqual({ direction: 'from', target: 'lab-001', local: '.', remote: '/a' });
    expect(planCopy('./odd:name', 'lab:x')).toMatchObject({ local: './odd:name', remote: 'x' });
    for (const [source, target] of [
      ['a', 'b'],
      ['lab:/a', 'web:/b'],
      ['lab:', 'b'],
      ['', 'lab:/b'],
    ])
      expect(() => planCopy(source ?? '', target ?? '')).toThrow(expect.objectContaining({ code: 'BAD_USAGE', hint: expect.any(String) }));
  });
});

describe('a command for guests', () => {
  it('is a program with arguments, or one line for a shell', () => {
    expect(commandOf(['hostname'])).toEqual(['hostname']);
    expect(commandOf(['/usr/bin/x-1.0'])).toEqual(['/usr/bin/x-1.0']);
    expect(commandOf(['df -h | tail'])).toEqual(['sh', '-c', 'df -h | tail']);
    expect(commandOf(['echo', 'a b', '|', 'c'])).toEqual(['echo', 'a b', '|', 'c']);
  });

  it('is passed to the agent unchanged', () => {
    expect(execCommand(['echo', 'a b'])).toEqual({
      execute: 'guest-exec',
      arguments: { path: 'echo', arg: ['a b'], 'capture-output': true },
    });
    expect(parseExecStatus('lab-001', { exited: true, signal: 9 })).toMatchObject({ exited: true, exitCode: 137, truncated: false });
    expect(parseExecStatus('lab-001', { exited: true, exitcode: 3, 'out-data': 'aGk=', 'out-truncated': true })).toMatchObject({
      exitCode: 3,
      stdout: Buffer.from('hi'),
      truncated: true,
    });
    expect(parseExecStatus('lab-001', { exited: false }).exited).toBe(false);
  });
});

describe('the addresses that an agent reports', () => {
  it('are IPv4 and not loopback', () => {
    const answer = [
      { name: 'lo', 'ip-addresses': [{ 'ip-address': '127.0.0.1', 'ip-address-type': 'ipv4' }] },
      {
        name: 'eth0',
        'hardware-address': '52:54:00:AA:00:01',
        'ip-addresses': [
          { 'ip-address': 'fe80::1', 'ip-address-type': 'ipv6' },
          { 'ip-address': '10.0.2.15', 'ip-address-type': 'ipv4' },
        ],
      },
      { name: 'eth1' },
    ];
    expect(parseInterfaces(answer)).toEqual([{ mac: '52:54:00:aa:00:01', ip: '10.0.2.15' }]);
    expect(parseInterfaces('nonsense')).toEqual([]);
  });
});

describe('the inventory', () => {
  const member = (index: number, host: string | null): Inventory['members'][number] => ({
    index,
    name: `lab-00${index}`,
    state: 'on',
    host: parseIpv4(host) ?? null,
    port: host === null ? null : 22,
    user: 'root',
    identityFile: '/store/ssh/id_ed25519',
    knownHostsFile: '/store/ssh/known_hosts',
    sshConfig: host === null ? [] : [`HostName ${host}`, 'IdentitiesOnly yes', `HostKeyAlias lab-00${index}`],
  });
  const inventory: Inventory = { fleet: 'lab', members: [member(1, '10.0.0.10'), member(2, null), member(3, '10.0.0.12')] };

  it('is written for each tool, without unreachable members', () => {
    expect(JSON.parse(formatInventory(inventory, 'json')).members).toHaveLength(3);
    const ansible = parse(formatInventory({ ...inventory, fleet: 'my-lab' }, 'ansible')).my_lab.hosts;
    expect(Object.keys(ansible)).toEqual(['lab-001', 'lab-003']);
    expect(ansible['lab-001']).toEqual({
      ansible_host: '10.0.0.10',
      ansible_port: 22,
      ansible_user: 'root',
      ansible_ssh_private_key_file: '/store/ssh/id_ed25519',
      ansible_ssh_common_args: '-o IdentitiesOnly=yes -o HostKeyAlias=lab-001',
    });
    expect(formatInventory(inventory, 'ssh-config')).toMatch(/^Host lab-001\n {2}HostName 10.0.0.10\n[\s\S]*\n\nHost lab-003\n/);
    expect(formatInventory(inventory, 'hosts')).toBe('10.0.0.10\tlab-001\n10.0.0.12\tlab-003');
    expect(formatInventory(inventory, 'env').split('\n')).toEqual(
      expect.arrayContaining(['COWHERD_FLEET=lab', "COWHERD_MEMBERS='lab-001 lab-003'", 'LAB_003_HOST=10.0.0.12', 'LAB_003_PORT=22']),
    );
  });

  it('has no hosts format for members that share an address', () => {
    const shared = { ...inventory, members: [member(1, '127.0.0.1')] };
    expect(() => formatInventory(shared, 'hosts')).toThrow(expect.objectContaining({ code: 'BAD_USAGE' }));
  });
});
