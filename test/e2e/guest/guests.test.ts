import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { domains, guest, Lab, virsh } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';
import { workOnTheCommandLine } from '../../support/scenarios/exec-scenarios.js';
import { followGuestHints } from '../../support/scenarios/hint-scenarios.js';
import { shownKey } from '../../support/ssh-keys.js';

/** Real Linux guests: identity, addresses, and commands inside them. */
describe('Linux guests', () => {
  let lab: Lab;
  let network: TestNetwork;
  const tiny = inject('tinyImage');
  /** Addresses for eight guests. */
  const linux = ['--base', tiny, '--memory', '128MiB', '--seed', 'nocloud'];

  beforeAll(async () => {
    lab = await Lab.open();
    network = await TestNetwork.open(lab.id, 10, 17);
  });
  afterAll(async () => {
    await lab.close();
    await network.close();
  });

  type Row = Record<string, any>;
  const rows = async (...args: string[]): Promise<Row[]> => (await lab.ok(...args)).members;
  const said = async (fleet: string, command: string, ...flags: string[]): Promise<string[]> =>
    (await rows('exec', fleet, ...flags, '--', command)).map((row) => String(row.stdout).trim());

  it('are eight with their own identities, before and after a reset of four', async () => {
    const fleet = lab.fleet('eight');
    const made = await lab.ok(
      'spawn',
      fleet,
      ...linux,
      '--count',
      '8',
      '--network',
      `network=${network.name}`,
      '--wait',
      'agent,ssh,cloud-init',
    );
    expect(made.counts).toMatchObject({ created: 8, started: 8, failed: 0 });
    const names = made.members.map((row: Row) => row.name);
    const identities = made.members.map(({ name, mac, address }: Row) => ({ name, mac, address }));
    for (const of of ['name', 'mac', 'address'] as const) expect(new Set(identities.map((row: Row) => row[of])).size).toBe(8);
    expect(identities[7].address).toBe(network.address(17));

    expect(await said(fleet, 'hostname')).toEqual(names);
    expect(await said(fleet, 'hostname -i', '--via', 'ssh')).toEqual(identities.map((row: Row) => row.address));
    expect(new Set(await said(fleet, 'cat /etc/machine-id')).size).toBe(8);
    const keys: string[] = [];
    for (const { address } of identities) keys.push(await shownKey(address));
    expect(new Set(keys).size).toBe(8);
    const known = await readFile(lab.path('fleets', fleet, 'ssh', 'known_hosts'), 'utf8');
    expect(known.trim().split('\n')).toEqual(names.map((name: string, at: number) => `${name} ${keys[at]}`));
    const instances = await said(fleet, 'cat /var/log/first-boot');

    const { members } = await lab.ok('status', fleet);
    expect(members.map((row: Row) => [row.address, row.problems])).toEqual(identities.map((row: Row) => [row.address, []]));

    // No address for a ninth: one clear error, and nothing changes.
    const full = await lab.cowherd('spawn', fleet, '--count', '9', '--json');
    expect(full.exitCode).toBe(3);
    expect(full.json.error.message).toMatch(/has 0 free addresses; 1 are needed; nothing was changed/);
    expect((await lab.ok('status', fleet)).members).toHaveLength(8);

    // Four are reset and keep their identity; the others continue.
    await lab.ok('exec', fleet, '--', 'echo mine > /root/mark');
    const reset = await lab.ok('reset', fleet, '5-8', '--wait', 'agent,ssh');
    expect(reset.counts).toMatchObject({ reset: 4, started: 4, failed: 0 });
    const after = (await lab.ok('status', fleet)).members;
    expect(after.map(({ name, mac, address }: Row) => ({ name, mac, address }))).toEqual(identities);
    expect(await said(fleet, 'hostname', '--via', 'ssh')).toEqual(names);
    expect(await said(fleet, 'hostname -i')).toEqual(identities.map((row: Row) => row.address));
    const kept = names.map((_: string, at: number) => at < 4);
    expect(await said(fleet, 'ls /root; cat /etc/bootcount')).toEqual(kept.map((isKept: boolean) => (isKept ? 'mark\n1' : '1')));
    for (const [at, { address }] of identities.entries()) expect(await shownKey(address)).toBe(keys[at]);
    // First-boot tasks were repeated under a new instance-id.
    const lives = await said(fleet, 'cat /var/log/first-boot');
    expect(lives.map((life, at) => life === instances[at])).toEqual(kept);
    expect(new Set([...instances, ...lives]).size).toBe(12);

    // Two guests with the same address are reported.
    await lab.ok('exec', fleet, '7-8', '--', `ip addr flush dev eth0; ip addr add ${network.address(99)}/24 dev eth0`);
    const doubled = (await lab.ok('status', fleet)).members;
    expect(doubled[6].problems).toEqual([`has the same address ${network.address(99)} as ${fleet}-008`]);
    expect(doubled[0].problems).toEqual([]);

    const inventory = (format: string) => lab.cowherd('inventory', fleet, '1-6', '--format', format).then(({ stdout }) => stdout);
    const config = join(lab.scratch, 'ssh_config');
    await writeFile(config, await inventory('ssh-config'));
    expect((await execa('ssh', ['-G', '-F', config, `${fleet}-002`])).stdout).toContain(`hostname ${identities[1].address}`);
    expect((await execa('ssh', ['-F', config, '-o', 'BatchMode=yes', `${fleet}-002`, 'hostname'])).stdout).toBe(`${fleet}-002`);
    const ansible = join(lab.scratch, 'hosts.yaml');
    await writeFile(ansible, await inventory('ansible'));
    const group = fleet.replaceAll('-', '_');
    const listed = await execa('ansible-inventory', ['-i', ansible, '--list'], { reject: false });
    const hosts =
      listed.code === 'ENOENT' ? Object.keys(parse(await readFile(ansible, 'utf8'))[group].hosts) : JSON.parse(listed.stdout)[group].hosts;
    expect(hosts).toEqual(names.slice(0, 6));
    await writeFile(join(lab.scratch, 'env'), await inventory('env'));
    const variable = `${fleet}-003`.toUpperCase().replaceAll('-', '_');
    const shell = await execa('bash', ['-c', `. ${join(lab.scratch, 'env')}; echo "$COWHERD_FLEET $${variable}_HOST"`]);
    expect(shell.stdout).toBe(`${fleet} ${identities[2].address}`);
    expect((await inventory('hosts')).split('\n')[0]).toBe(`${identities[0].address}\t${names[0]}`);

    // Hanging agents block neither a listing nor its cancellation.
    await lab.ok('exec', fleet, '1-3', '--via', 'ssh', '--', 'kill -STOP $(pidof qemu-ga)');
    expect((await lab.ok('status', fleet)).counts.running).toBe(8);

    // Foreign entries are kept, also those that libvirt matches with any MAC.
    await network.addHost(`<host name='printer' ip='${network.address(50)}'/>`);
    expect((await network.hosts()).sort()).toEqual([...names].sort());
    await lab.ok('teardown', fleet, '8', '--yes');
    expect(await network.hosts()).toHaveLength(7);
    await lab.ok('teardown', fleet, '--yes');
    expect(await network.hosts()).toEqual([]);
    expect(await virsh('net-dumpxml', network.name)).toContain('printer');
    expect(await readdir(lab.path('fleets'))).toEqual([]);
  });

  it('support exec, cp, logs, ssh and console', async () => {
    const fleet = lab.fleet('work');
    // A port in use is not assigned.
    const squatter = createServer().listen(22_000, '127.0.0.1');
    const [, second] = await rows('spawn', fleet, ...linux, '--count', '2', '--forward-ssh', '--wait', 'agent,ssh').finally(() =>
      squatter.close(),
    );
    const ports: number[] = (await lab.ok('status', fleet)).members.map((row: Row) => row.sshPort);
    expect(new Set([22_000, ...ports]).size).toBe(3);
    expect(second?.sshPort).toBe(ports[1]);
    const rendered = await lab.ok('template', 'render', fleet, '2');
    expect(rendered.xml).toContain(`hostfwd=tcp:127.0.0.1:${ports[1]}-:22`);
    expect(await virsh('dumpxml', `${fleet}-002`)).toContain(rendered.definition);

    // A recovered record contains the ports of the domains.
    await rm(lab.path('fleets', fleet, 'fleet.json'));
    expect((await lab.ok('status', fleet, '--recover')).members.map((row: Row) => row.sshPort)).toEqual(ports);
    expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ unchanged: 2 });

    // exec: arguments, a shell command line, failures, a timeout.
    expect((await rows('exec', fleet, '2', '--', 'echo', 'a  b', '$HOME', '--json'))[0]).toMatchObject({
      stdout: 'a  b $HOME --json\n',
      via: 'agent',
    });
    expect((await rows('exec', fleet, '2', '--via', 'ssh', '--', 'echo', 'a  b', '$HOME', "it's"))[0]).toMatchObject({
      stdout: "a  b $HOME it's\n",
      via: 'ssh',
    });
    const mixed = await lab.cowherd('exec', fleet, '--json', '--', 'echo out; echo err >&2; [ $(hostname) = x ]');
    expect([mixed.exitCode, mixed.json.counts]).toEqual([4, { ok: 0, failed: 2 }]);
    expect(mixed.json.members[0]).toMatchObject({ exitCode: 1, stdout: 'out\n', stderr: 'err\n' });
    const plain = await lab.cowherd('exec', fleet, '--', 'hostname');
    expect(plain.stdout.split('\n').sort()).toEqual([`${fleet}-001 | ${fleet}-001`, `${fleet}-002 | ${fleet}-002`]);
    for (const via of ['agent', 'ssh']) {
      expect((await lab.cowherd('exec', fleet, '1', '--via', via, '--json', '--', 'nonesuch')).json.members[0].exitCode).toBe(127);
      const late = await lab.cowherd('exec', fleet, '1', '--via', via, '--timeout', '2s', '--json', '--', 'sleep', '20');
      expect([late.exitCode, late.json.members[0].error.code]).toEqual([4, 'TOOL_TIMEOUT']);
    }
    const much = (await rows('exec', fleet, '1', '--via', 'ssh', '--', 'head -c 3000000 /dev/zero'))[0];
    expect([much?.stdout.length, much?.truncated]).toEqual([1024 * 1024, true]);
    expect((await lab.cowherd('exec', fleet)).stderr).toContain('→ Put the command after two hyphens');

    // Guest output cannot end an answer of libvirt.
    const fences = ['cow-end-1.', 'cow-end-2.', 'cow-end-3.', 'cow-end-4.', 'error: ', 'virsh # echo --err'];
    expect((await rows('exec', fleet, '1', '--', 'echo', ...fences))[0]?.stdout).toBe(`${fences.join(' ')}\n`);

    await workOnTheCommandLine(lab, fleet);
    await followGuestHints(lab, fleet);

    // cp: both directions, both transports, byte by byte.
    const bytes = randomBytes(300_000);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const local = join(lab.scratch, 'payload.bin');
    await writeFile(local, bytes);
    for (const via of ['agent', 'ssh']) {
      const sent = await lab.ok('cp', local, `${fleet}:/root/`, '--via', via);
      expect(sent.counts).toEqual({ ok: 2, failed: 0 });
      expect(await said(fleet, 'sha256sum < /root/payload.bin')).toEqual([`${digest}  -`, `${digest}  -`]);
      await lab.ok('exec', fleet, '--', 'mv /root/payload.bin /root/back.bin');
      await lab.ok('cp', `${fleet}:/root/back.bin`, join(lab.scratch, via), '--via', via);
      expect(await readFile(join(lab.scratch, via, `${fleet}-002`, 'back.bin'))).toEqual(bytes);
      await lab.ok('cp', `${fleet}-001:/root/back.bin`, join(lab.scratch, `one-${via}`), '--via', via);
      expect(await readFile(join(lab.scratch, `one-${via}`))).toEqual(bytes);
    }
    await mkdir(join(lab.scratch, 'tree', 'deep'), { recursive: true });
    await writeFile(join(lab.scratch, 'tree', 'deep', 'leaf'), 'green');
    await lab.ok('cp', '-r', join(lab.scratch, 'tree'), `${fleet}:/root/`);
    expect(await said(fleet, 'cat /root/tree/deep/leaf')).toEqual(['green', 'green']);
    const full = await lab.cowherd('cp', local, `${fleet}-001:/dev/full`, '--via', 'agent', '--json');
    expect([full.exitCode, full.json.members[0].error.code]).toEqual([4, 'GUEST_REFUSED']);
    const lost = await lab.cowherd('cp', `${fleet}-001:/nonesuch`, lab.scratch, '--json');
    expect([lost.exitCode, lost.json.members[0].error.message]).toEqual([4, expect.stringContaining('o such file')]);
    expect((await lab.cowherd('cp', join(lab.scratch, 'nonesuch'), `${fleet}:/root/`)).exitCode).toBe(5);

    expect((await lab.cowherd('logs', `${fleet}-002`)).stdout).toContain(`TINY-READY ${fleet}-002 boots=1`);
    const follow = lab.begin('logs', fleet, '2', '--follow');
    await lab.ok('exec', fleet, '2', '--', 'echo FOLLOWED > /dev/ttyS0');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    follow.kill('SIGINT');
    expect((await follow).stdout).toContain('FOLLOWED');
    expect(await lab.cowherd('ssh', `${fleet}-002`, '--', 'hostname; exit 7')).toMatchObject({ exitCode: 7, stdout: `${fleet}-002` });
    const tty = await execa('script', ['-qec', `${process.execPath} ${lab.bin} console ${fleet}-002`, '/dev/null'], {
      env: lab.env,
      input: '\n\necho con$((1+1))sole\n\n\u001d',
      reject: false,
      timeout: 20_000,
    });
    expect(tty.stdout).toContain('Escape character');
    for (const word of [`${fleet}-009`, 'nonesuch-001', 'nonesuch']) expect([2, 5]).toContain((await lab.cowherd('ssh', word)).exitCode);

    // A guest without its agent does not block others, and its stage is reported.
    await lab.ok('exec', fleet, '2', '--via', 'ssh', '--', 'killall qemu-ga');
    const stuck = await lab.cowherd('spawn', fleet, '--wait', 'agent', '--timeout', '4s', '--json');
    expect([stuck.exitCode, stuck.json.counts]).toMatchObject([4, { unchanged: 1, failed: 1 }]);
    expect(stuck.json.members[1]).toMatchObject({
      outcome: 'failed',
      step: 'wait',
      stuckAt: 'agent',
      error: { code: 'NOT_READY', hint: expect.stringContaining('cowherd logs') },
    });
    expect((await said(fleet, 'hostname'))[1]).toBe(`${fleet}-002`);
    await lab.ok('stop', fleet, '1');
    const off = await lab.cowherd('exec', fleet, '--json', '--', 'true');
    expect(off.json.members.map((row: Row) => row.error?.message ?? row.via)).toEqual([`${fleet}-001 is not running`, 'ssh']);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('get the content of templates, and their secrets are not visible elsewhere', async () => {
    const fleet = lab.fleet('seed');
    const file = join(lab.scratch, 'user-data.hbs');
    await lab.ok('template', 'eject', file, '--part', 'user-data');
    const builtIn = await readFile(file, 'utf8');
    await writeFile(file, `${builtIn}runcmd:\n  - {{json (concat)}}\n`);
    const spawn = ['spawn', fleet, ...linux, '--count', '1', '--user-data', file, '--secret', 'token=s3cr3t-w0rd', '--wait', 'cloud-init'];
    const wrong = async (text: string, message: RegExp): Promise<void> => {
      await writeFile(file, text);
      const { exitCode, json, stdout, stderr } = await lab.cowherd(...spawn, '--json');
      expect([exitCode, json.error.code]).toEqual([2, 'BAD_TEMPLATE']);
      expect([json.error.message, ...(json.error.details ?? [])].join('\n')).toMatch(message);
      expect(json.error.hint).toBeTruthy();
      expect(stdout + stderr).not.toContain('s3cr3t');
      expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
      expect((await lab.cowherd('status', fleet)).exitCode).toBe(5);
    };
    await wrong('#cloud-config\nruncmd: [{{json secrets.token}}\n', /user-data of .*-001 .* is not YAML[\s\S]*line 2|line 3/);
    await wrong('#cloud-config\nruncmd: {{vars.nonesuch}}\n', /nonesuch/);
    await wrong('runcmd: []\n', /in no format that cloud-init knows/);

    await writeFile(
      file,
      `${builtIn}runcmd:\n  - {{json secrets.token}}\n`.replace(
        '{{json secrets.token}}',
        '"echo {{secrets.token}} {{vars.role}} > /root/told"',
      ),
    );
    await lab.ok(...spawn, '--var', 'role=db');
    expect(await said(fleet, 'cat /root/told')).toEqual(['s3cr3t-w0rd db']);
    // Only in the seed and in a file for root.
    const listings = [
      await lab.cowherd('status', fleet, '--json'),
      await lab.cowherd('inventory', fleet),
      await lab.cowherd('template', 'render', fleet, '1'),
      await lab.cowherd('template', 'render', fleet, '1', '--part', 'user-data'),
      await lab.cowherd('spawn', fleet, '--dry-run', '--json'),
    ];
    expect(listings.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0, 0]);
    expect(listings.map(({ stdout, stderr }) => stdout + stderr).join()).not.toMatch(/s3cr3t|BEGIN OPENSSH PRIVATE KEY-----\s+b3/);
    expect(listings[3]?.stdout).toContain('echo ******** db');
    expect(await virsh('dumpxml', `${fleet}-001`)).not.toContain('s3cr3t');
    expect(await readFile(lab.path('fleets', fleet, 'fleet.json'), 'utf8')).not.toContain('s3cr3t');
    expect((await stat(lab.path('fleets', fleet, 'secrets.json'))).mode & 0o777).toBe(0o600);

    // Without the secrets no login would be possible after a reset: it is refused.
    const kept = lab.path('fleets', fleet, 'secrets.json');
    await rename(kept, `${kept}.away`);
    expect((await lab.cowherd('reset', fleet)).exitCode).toBe(7);
    expect((await lab.cowherd('spawn', fleet)).exitCode).toBe(7);
    await rename(`${kept}.away`, kept);
    expect((await lab.ok('status', fleet)).unfinished).toBeUndefined();

    // Without a change there is nothing to do; a changed seed takes effect at the next start, with the same instance-id.
    expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ unchanged: 1 });
    const [instance] = await said(fleet, 'cat /var/log/first-boot');
    const changed = await lab.ok('spawn', fleet, '--var', 'role=web');
    expect(changed.notes.join()).toContain('at their next start');
    await lab.ok('stop', fleet);
    await lab.ok('start', fleet, '--wait', 'cloud-init');
    expect(await said(fleet, 'cat /root/told /var/log/first-boot')).toEqual([`s3cr3t-w0rd db\n${instance}`]);
    await lab.ok('reset', fleet, '--keep-instance', '--wait', 'cloud-init');
    expect(await said(fleet, 'cat /root/told /var/log/first-boot')).toEqual([`s3cr3t-w0rd web\n${instance}`]);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('without a seed get their host name from SMBIOS, and no permanent key', async () => {
    const fleet = lab.fleet('smbios');
    const [key, pub] = [join(lab.scratch, 'id'), join(lab.scratch, 'id.pub')];
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    const base = ['--base', tiny, '--memory', '128MiB', '--count', '1'];
    const refused = await lab.cowherd('spawn', fleet, ...base, '--seed', 'smbios', '--ssh-key', pub, '--json');
    expect([refused.exitCode, refused.json.error.hint]).toEqual([2, expect.stringContaining('--seed nocloud')]);
    expect((await lab.cowherd('spawn', fleet, ...base, '--ssh-key', key, '--json')).json.error.hint).toContain('id.pub');
    await lab.ok('spawn', fleet, ...base, '--seed', 'smbios', '--wait', 'agent');
    expect(await said(fleet, 'hostname')).toEqual([`${fleet}-001`]);
    expect(await said(fleet, 'cloud-init status')).toEqual(['status: disabled']);
    const none = await lab.cowherd('exec', fleet, '--via', 'ssh', '--json', '--', 'true');
    expect(none.json.members[0].error).toMatchObject({ code: 'GUEST_UNREACHABLE', hint: expect.stringContaining('--forward-ssh') });
    await lab.ok('teardown', fleet, '--yes');

    // The user's own key works as well as that of the fleet.
    await lab.ok('spawn', fleet, ...base, '--ssh-key', pub, '--forward-ssh', '--wait', 'ssh');
    const [member] = (await lab.ok('inventory', fleet)).members;
    const options = [
      '-i',
      key,
      '-o',
      'IdentitiesOnly=yes',
      '-o',
      `HostKeyAlias=${member.name}`,
      '-o',
      `UserKnownHostsFile=${member.knownHostsFile}`,
    ];
    expect((await execa('ssh', ['-F', 'none', ...options, '-p', String(member.port), 'root@127.0.0.1', 'hostname'])).stdout).toBe(
      member.name,
    );
    await lab.ok('teardown', fleet, '--yes');
  });

  it('need an active network', async () => {
    const name = `cwt-off-${lab.id}`;
    const path = join(lab.scratch, 'off.xml');
    await writeFile(path, `<network><name>${name}</name><bridge name='cwo${lab.id}' stp='off' delay='0'/></network>`);
    await virsh('net-define', path);
    try {
      const fleet = lab.fleet('off');
      const refused = await lab.cowherd('spawn', fleet, ...linux, '--count', '1', '--network', `network=${name}`, '--json');
      expect([refused.exitCode, refused.json.error.message]).toEqual([3, `network ${name} is not active; nothing was changed`]);
      expect((await lab.cowherd('doctor', '--network', `network=${name}`)).exitCode).toBe(3);
      expect(await virsh('net-info', name)).toMatch(/Active:\s+no/);
      expect((await lab.cowherd('doctor', '--network', `network=${name}`, '--start-network', name)).exitCode).toBe(0);
      expect(await virsh('net-info', name)).toMatch(/Active:\s+yes/);
      // Moving to another network: refused while running, then with an address of the new network.
      await lab.ok('spawn', fleet, ...linux, '--count', '1', '--network', `network=${network.name}`);
      const running = await lab.cowherd('spawn', fleet, '--network', 'user', '--json');
      expect([running.exitCode, running.json.error.hint]).toEqual([3, expect.stringContaining(`cowherd stop ${fleet}`)]);
      expect(await network.hosts()).toEqual([`${fleet}-001`]);
      await lab.ok('stop', fleet, '--force', '--timeout', '1s');
      await lab.ok('spawn', fleet, '--network', 'user', '--no-start');
      expect(await network.hosts()).toEqual([]);
      await lab.ok('teardown', fleet, '--yes');
      // Without DHCP there is nothing to reserve, and a note says so.
      const spawned = await lab.ok('spawn', fleet, ...linux, '--count', '1', '--network', `network=${name}`, '--no-start');
      expect(spawned.notes.join()).toContain('no DHCP range');
      await lab.ok('teardown', fleet, '--yes');
    } finally {
      await virsh('net-destroy', name).catch(() => undefined);
      await virsh('net-undefine', name);
    }
  });

  it('cause a warning if the base image contains an identity', async () => {
    const root = join(lab.scratch, 'baked');
    await mkdir(join(root, 'etc', 'ssh'), { recursive: true });
    await writeFile(join(root, 'etc', 'machine-id'), `${'a1'.repeat(16)}\n`);
    await writeFile(join(root, 'etc', 'ssh', 'ssh_host_ed25519_key'), 'a key');
    const image = join(lab.scratch, 'baked.img');
    await execa('mke2fs', ['-q', '-t', 'ext4', '-d', root, image, '8M']);
    const added = await lab.ok('base', 'add', image, '--name', 'baked', '--format', 'raw');
    expect(added.generalisation.map((warning: Row) => warning.what)).toEqual([
      expect.stringContaining('machine-id of its own'),
      expect.stringContaining('ssh_host_ed25519_key'),
    ]);
    expect((await lab.cowherd('base', 'inspect', 'baked')).stdout).toContain('machine-id of its own');
    await lab.ok('base', 'remove', 'baked');
    const fleet = lab.fleet('baked');
    const spawned = await lab.ok('spawn', fleet, '--base', image, '--format', 'raw', '--count', '1', '--no-start');
    expect(spawned.notes.join('\n')).toContain('virt-sysprep');
    await lab.ok('teardown', fleet, '--yes', '--with-base');
    // The commands of the hints, run in the same system before its disk is made.
    for (const { hint } of added.generalisation as Row[]) {
      const [, command = ''] = /^In the guest, before its last shutdown: "([^"]+)"/.exec(hint) ?? [];
      await execa('bash', ['-c', command.replace('/etc/', `${root}/etc/`)]);
    }
    await execa('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, image, '8M']);
    expect((await lab.ok('base', 'add', image, '--name', 'general', '--format', 'raw')).generalisation).toEqual([]);
    expect((await lab.ok('base', 'add', tiny)).generalisation).toEqual([]);
  });

  it('without agent and address cause one clear error each', async () => {
    const golden = await lab.golden('golden.qcow2');
    const fleet = lab.fleet('mute');
    const { exitCode, json } = await lab.cowherd(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      '2',
      ...guest,
      '--wait',
      'agent',
      '--timeout',
      '3s',
      '--json',
    );
    expect([exitCode, json.counts.failed]).toEqual([4, 2]);
    for (const { error, stuckAt, state } of json.members) {
      expect([stuckAt, state, error.code]).toEqual(['agent', 'running', 'NOT_READY']);
      expect(error.message).toMatch(/did not reach stage agent within 3 s: The agent of .* does not answer/);
      expect(error.details.join()).toMatch(/last line of its console: OK /);
    }
    for (const wait of ['ssh', 'address', 'nonsense']) expect((await lab.cowherd('spawn', fleet, '--wait', wait)).exitCode).toBe(2);
    expect((await lab.cowherd('reset', fleet, '--wait', 'ssh')).exitCode).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
    // On a network without a DHCP request: waits for the address.
    const silent = ['--base', golden, '--count', '1', '--memory', '16MiB', '--network', `network=${network.name}`];
    const lost = await lab.cowherd('spawn', fleet, ...silent, '--wait', 'ssh', '--timeout', '3s', '--json');
    expect(lost.json).toMatchObject({ counts: { failed: 1 } });
    expect(lost.json.members[0]).toMatchObject({ stuckAt: 'address', error: { message: expect.stringContaining('by DHCP') } });
    await lab.ok('teardown', fleet, '--yes');
    expect(await network.hosts()).toEqual([]);
  });
});
