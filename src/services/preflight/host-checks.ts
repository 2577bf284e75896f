import prettyBytes from 'pretty-bytes';
import { formatAnswer, questionOf } from '../../core/host/accelerator.js';
import { savedByKsm } from '../../core/host/ksm.js';
import { defaultDomainSpec } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import { attempt, type Check, ok } from './checks.js';

/** The checks that doctor alone makes: whether this host has what fleets need. */

/** File descriptors that libvirtd keeps per running domain: monitor, agent, console, log. */
const descriptorsPerDomain = 8;

export async function checkTools({ hypervisor, images }: Pick<Ports, 'hypervisor' | 'images'>): Promise<Check[]> {
  return [
    await attempt('qemu-img', async () => {
      const version = await images.version();
      return atLeast(version, 6, 0)
        ? ok('qemu-img', version)
        : { name: 'qemu-img', status: 'failed', message: `${version} is too old`, hint: 'Install QEMU 6.0 or newer.' };
    }),
    await attempt('libvirt', async () => {
      const { libvirt, hypervisor: version } = await hypervisor.versions();
      return atLeast(libvirt, 7, 0)
        ? ok('libvirt', `${libvirt} with ${version}, at ${hypervisor.uri}`)
        : { name: 'libvirt', status: 'failed', message: `${libvirt} is too old`, hint: 'Install libvirt 7.0 or newer.' };
    }),
  ];
}

/** What seeds and logins need; fleets without them do not. */
export async function checkGuestTools({ seeds, remote }: Pick<Ports, 'seeds' | 'remote'>): Promise<Check[]> {
  const optional = async (name: string, look: () => Promise<string>): Promise<Check> => {
    const check = await attempt(name, async () => ok(name, await look()));
    return check.status === 'failed' ? { ...check, status: 'warning' } : check;
  };
  return [await optional('seed images', () => seeds.tool()), await optional('ssh', () => remote.version())];
}

/** libvirt's own network: whether members could be on it. Nothing starts it but a person. */
export async function checkDefaultNetwork({ hypervisor, networks }: Pick<Ports, 'hypervisor' | 'networks'>): Promise<Check[]> {
  if (!hypervisor.isSystem) return [];
  const name = 'network default';
  const check = await attempt(name, async () => {
    const { exists, active } = await networks.state('default');
    if (active) return ok(name, 'active: --network network=default gives each member an address');
    if (!exists) return ok(name, 'there is none; --network user needs none');
    return {
      name,
      status: 'warning',
      message: 'defined and not active: --network network=default would not work',
      hint: 'To start it: cowherd doctor --start-network default (or virsh net-start default; virsh net-autostart default keeps it).',
    };
  });
  return [check.status === 'failed' ? { ...check, status: 'warning' } : check];
}

/** Where /dev/kvm is closed to libvirt's users, libvirt asks QEMU for all its abilities again at every call. */
export async function checkKvmDevice({ machine }: Pick<Ports, 'machine'>): Promise<Check[]> {
  const name = '/dev/kvm';
  const device = await machine.kvmDevice();
  if (device === undefined) return [];
  const mode = device.mode.toString(8).padStart(4, '0');
  const open = (device.mode & 0o006) === 0o006 || (device.group === 'kvm' && (device.mode & 0o060) === 0o060);
  return [
    open
      ? ok(name, `group ${device.group}, mode ${mode}`)
      : {
          name,
          status: 'warning',
          message: `group ${device.group}, mode ${mode}: QEMU's user cannot open it, and libvirt takes seconds for every call`,
          hint: 'sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm, then restart libvirtd',
        },
  ];
}

/** Whether the kernel merges what guests have in common. Never more than a hint: fleets do without, and it is a trade. */
export async function checkKsm({ machine }: Pick<Ports, 'machine'>): Promise<Check> {
  const name = 'ksm';
  const ksm = await machine.ksm();
  if (ksm === 'absent') return ok(name, 'not there: the kernel was built without it, or does not show it here; nothing is merged');
  if (ksm === 'unreadable') return ok(name, '/sys/kernel/mm/ksm cannot be read, so nothing is known of it');
  const { state, pagesShared, pagesSharing, zeroPages, fullScans } = ksm;
  const saved = prettyBytes(savedByKsm(ksm), { binary: true });
  const empty = zeroPages === 0 ? '' : `, ${zeroPages} empty ones dropped`;
  const figures = `saves ${saved} now (${pagesShared + pagesSharing} pages kept as ${pagesShared}${empty})`;
  const caution = 'a guest can find out by timing what others hold, so only where all guests may know of each other';
  if (state === 'running')
    return {
      ...ok(name, `on: ${figures}, after ${fullScans} full scans`),
      hint: `Merged pages are a side channel: ${caution}. To turn it off and give all back: echo 2 | sudo tee /sys/kernel/mm/ksm/run`,
    };
  return {
    ...ok(name, pagesSharing + zeroPages > 0 ? `off: merges nothing more, and still ${figures}` : 'off: nothing of guests is merged'),
    hint: `To let the kernel merge equal pages of guests, for some CPU: echo 1 | sudo tee /sys/kernel/mm/ksm/run. Beware: ${caution}.`,
  };
}

const swtpmCa = '/var/lib/swtpm-localca';

/** swtpm runs as a user of its own, who must read and write the certificates of its authority: what root made there stops all. */
export async function checkTpmFiles({ hypervisor, machine }: Pick<Ports, 'hypervisor' | 'machine'>): Promise<Check[]> {
  if (!hypervisor.isSystem) return [];
  const found = await machine.strangersIn(swtpmCa);
  if (found === undefined) return [];
  const name = 'tpm certificates';
  if (found.files.length === 0) return [ok(name, `${swtpmCa} is all ${found.owner}'s`)];
  return [
    {
      name,
      status: 'warning',
      message: `${found.files.slice(0, 3).join(', ')} in ${swtpmCa} ${found.files.length === 1 ? 'is' : 'are'} not ${found.owner}'s, as the directory is: no emulated TPM can be made`,
      hint: `sudo chown -R ${found.owner} ${swtpmCa}`,
    },
  ];
}

export async function checkUser({ hypervisor, machine }: Pick<Ports, 'hypervisor' | 'machine'>): Promise<Check> {
  const who = machine.userName();
  if (machine.isRoot()) return ok('user', `${who}, who may do everything`);
  const groups = await machine.groups();
  const inGroup = groups.includes('libvirt');
  if (hypervisor.isSystem) return ok('user', `${who}${inGroup ? ', in the group libvirt' : ''}`);
  return ok('user', `${who}, with a libvirt of their own${inGroup ? '' : ` (to use the system's: sudo usermod -aG libvirt ${who})`}`);
}

/** What a fleet gets that asks for no accelerator and no CPU, and why. */
export async function checkAccelerator({ accelerator }: Pick<Ports, 'accelerator'>, fresh: boolean): Promise<Check> {
  const name = 'accelerator';
  return attempt(name, async () => {
    const answer = await accelerator.choose(questionOf(defaultDomainSpec), { fresh });
    const message = formatAnswer(answer);
    if (answer.unproven !== undefined)
      return { name, status: 'failed', message, hint: 'Mend what kept the probe guest from running, then look again: cowherd doctor' };
    if (answer.rejected.length === 0) return ok(name, message);
    const again = '"cowherd doctor --fresh" probes again.';
    return {
      name,
      status: 'warning',
      message,
      hint:
        answer.choice.virtType === 'kvm'
          ? `Guests see fewer features of the CPU than this host has. ${again}`
          : `Guests run, but slowly. For KVM the CPU, the BIOS setting, the module and /dev/kvm (group kvm, mode 0660) must be there. ${again}`,
    };
  });
}

export async function checkDaemonLimits(
  { machine, hypervisor }: Pick<Ports, 'machine' | 'hypervisor'>,
  sessions: number,
  domains: number,
): Promise<Check[]> {
  if (!hypervisor.isSystem) return [ok('libvirtd limits', "a daemon of your own, with libvirt's defaults")];
  const { openFiles, maxClients, maxWorkers } = await machine.libvirtdLimits();
  const checks: Check[] = [
    maxClients !== undefined && maxClients < sessions + 4
      ? {
          name: 'libvirtd limits',
          status: 'warning',
          message: `max_clients is ${maxClients}, and cowherd uses up to ${sessions} connections`,
          hint: 'Raise max_clients in /etc/libvirt/libvirtd.conf.',
        }
      : ok('libvirtd limits', `up to ${maxClients} clients and ${maxWorkers} workers`),
  ];
  if (openFiles === undefined) {
    checks.push(ok('open files', 'the limit of libvirtd cannot be seen from here'));
  } else {
    const needed = 256 + domains * descriptorsPerDomain;
    checks.push(
      openFiles < needed
        ? {
            name: 'open files',
            status: 'warning',
            message: `libvirtd may open ${openFiles} files, and ${domains} domains need about ${needed}`,
            hint: 'Raise LimitNOFILE of libvirtd.service, or ulimit -n before starting it.',
          }
        : ok('open files', `libvirtd may open ${openFiles}`),
    );
  }
  return checks;
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first > major || (first === major && second >= minor);
}
