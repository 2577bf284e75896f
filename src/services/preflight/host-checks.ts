import prettyBytes from 'pretty-bytes';
import { formatAnswer, questionOf } from '../../core/host/accelerator.js';
import { sharingAdvice } from '../../core/host/confinement.js';
import { savedByKsm } from '../../core/host/ksm.js';
import { opensReadOnly } from '../../core/memory/sharing.js';
import { defaultDomainSpec } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import { atLeast, attempt, type Check, ok } from './checks.js';

/** Checks of the host that only doctor makes. */

/** File descriptors that libvirtd needs per running domain: monitor, agent, console, log. */
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

/** Optional tools for seeds and logins. */
export async function checkGuestTools({ seeds, remote }: Pick<Ports, 'seeds' | 'remote'>): Promise<Check[]> {
  const optional = async (name: string, look: () => Promise<string>): Promise<Check> => {
    const check = await attempt(name, async () => ok(name, await look()));
    return check.status === 'failed' ? { ...check, status: 'warning' } : check;
  };
  return [await optional('seed images', () => seeds.tool()), await optional('ssh', () => remote.version())];
}

/** Checks libvirt's default network. It is not started automatically. */
export async function checkDefaultNetwork({ hypervisor, networks }: Pick<Ports, 'hypervisor' | 'networks'>): Promise<Check[]> {
  if (!hypervisor.isSystem) return [];
  const name = 'network default';
  const check = await attempt(name, async () => {
    const { exists, active } = await networks.state('default');
    if (active) return ok(name, 'active: members can use --network network=default');
    if (!exists) return ok(name, 'not defined; --network user does not need it');
    return {
      name,
      status: 'warning',
      message: 'not active: members cannot use --network network=default',
      hint: 'To start it: cowherd doctor --start-network default (or virsh net-start default; virsh net-autostart default keeps it).',
    };
  });
  return [check.status === 'failed' ? { ...check, status: 'warning' } : check];
}

/** If QEMU's user cannot open /dev/kvm, libvirt probes QEMU's capabilities again at every call. */
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
          message: `group ${device.group}, mode ${mode}: QEMU's user cannot open it, so every libvirt call takes seconds`,
          hint: 'sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm, then restart libvirtd',
        },
  ];
}

/** Reports whether the kernel merges identical pages of guests. Never a warning: KSM is optional and has drawbacks. */
export async function checkKsm({ machine }: Pick<Ports, 'machine'>): Promise<Check> {
  const name = 'ksm';
  const ksm = await machine.ksm();
  if (ksm === 'absent') return ok(name, 'not available in this kernel; nothing is merged');
  if (ksm === 'unreadable') return ok(name, 'unknown: /sys/kernel/mm/ksm cannot be read');
  const { state, pagesShared, pagesSharing, zeroPages, fullScans } = ksm;
  const saved = prettyBytes(savedByKsm(ksm), { binary: true });
  const empty = zeroPages === 0 ? '' : `, ${zeroPages} empty ones dropped`;
  const figures = `saves ${saved} now (${pagesShared + pagesSharing} pages kept as ${pagesShared}${empty})`;
  const caution = 'a guest can infer the memory of others by timing, so use it only if all guests trust each other';
  if (state === 'running')
    return {
      ...ok(name, `on: ${figures}, after ${fullScans} full scans`),
      hint: `Merged pages are a side channel: ${caution}. To turn it off and unmerge all pages: echo 2 | sudo tee /sys/kernel/mm/ksm/run`,
    };
  return {
    ...ok(name, pagesSharing + zeroPages > 0 ? `off: no new merges, still ${figures}` : 'off: no pages are merged'),
    hint: `To let the kernel merge equal pages of guests, at some CPU cost: echo 1 | sudo tee /sys/kernel/mm/ksm/run. Note: ${caution}.`,
  };
}

/** Whether QEMU may not map the RAM images of clones, so that each gets a copy of the whole memory. */
export async function checkSharedMemory({ hypervisor, fleets }: Pick<Ports, 'hypervisor' | 'fleets'>): Promise<Check[]> {
  const isReadOnly = opensReadOnly((await hypervisor.versions()).hypervisor);
  return (await hypervisor.confinements()).map((model) => ({
    ...ok('shared memory', `${model} confines QEMU: clones of a running VM share its memory only if QEMU may open RAM images`),
    hint: `${sharingAdvice(model, fleets.root, isReadOnly)}. Without it, each clone gets a copy, and a note says so.`,
  }));
}

const swtpmCa = '/var/lib/swtpm-localca';

/** swtpm's user must be able to read and write its certificate authority: files that root created there break it. */
export async function checkTpmFiles({ hypervisor, machine }: Pick<Ports, 'hypervisor' | 'machine'>): Promise<Check[]> {
  if (!hypervisor.isSystem) return [];
  const found = await machine.strangersIn(swtpmCa);
  if (found === undefined) return [];
  const name = 'tpm certificates';
  if (found.files.length === 0) return [ok(name, `all files in ${swtpmCa} belong to ${found.owner}`)];
  return [
    {
      name,
      status: 'warning',
      message: `${found.files.slice(0, 3).join(', ')} in ${swtpmCa} ${found.files.length === 1 ? 'does' : 'do'} not belong to ${found.owner}: no TPM can be emulated`,
      hint: `sudo chown -R ${found.owner} ${swtpmCa}`,
    },
  ];
}

export async function checkUser({ hypervisor, machine }: Pick<Ports, 'hypervisor' | 'machine'>): Promise<Check> {
  const who = machine.userName();
  if (machine.isRoot()) return ok('user', `${who} (root)`);
  const groups = await machine.groups();
  const inGroup = groups.includes('libvirt');
  if (hypervisor.isSystem) return ok('user', `${who}${inGroup ? ', in the group libvirt' : ''}`);
  return ok('user', `${who}, with the session daemon${inGroup ? '' : ` (to use the system daemon: sudo usermod -aG libvirt ${who})`}`);
}

/** The default accelerator and CPU of a fleet, and why. */
export async function checkAccelerator({ accelerator }: Pick<Ports, 'accelerator'>, fresh: boolean): Promise<Check> {
  const name = 'accelerator';
  return attempt(name, async () => {
    const answer = await accelerator.choose(questionOf(defaultDomainSpec), { fresh });
    const message = formatAnswer(answer);
    if (answer.unproven !== undefined)
      return { name, status: 'failed', message, hint: 'Fix what kept the probe guest from running, then check again: cowherd doctor' };
    if (answer.rejected.length === 0) return ok(name, message);
    const again = '"cowherd doctor --fresh" probes again.';
    return {
      name,
      status: 'warning',
      message,
      hint:
        answer.choice.virtType === 'kvm'
          ? `Guests do not see all CPU features of this host. ${again}`
          : `Guests run, but slowly. KVM needs CPU support, the BIOS setting, the kernel module and /dev/kvm (group kvm, mode 0660). ${again}`,
    };
  });
}

export async function checkDaemonLimits(
  { machine, hypervisor }: Pick<Ports, 'machine' | 'hypervisor'>,
  sessions: number,
  domains: number,
): Promise<Check[]> {
  if (!hypervisor.isSystem) return [ok('libvirtd limits', "session daemon with libvirt's defaults")];
  const { openFiles, maxClients, maxWorkers } = await machine.libvirtdLimits();
  const checks: Check[] = [
    maxClients !== undefined && maxClients < sessions + 4
      ? {
          name: 'libvirtd limits',
          status: 'warning',
          message: `max_clients is ${maxClients}, but cowherd uses up to ${sessions} connections`,
          hint: 'Raise max_clients in /etc/libvirt/libvirtd.conf.',
        }
      : ok('libvirtd limits', `up to ${maxClients} clients and ${maxWorkers} workers`),
  ];
  if (openFiles === undefined) {
    checks.push(ok('open files', 'the limit of libvirtd is not visible'));
  } else {
    const needed = 256 + domains * descriptorsPerDomain;
    checks.push(
      openFiles < needed
        ? {
            name: 'open files',
            status: 'warning',
            message: `libvirtd may open ${openFiles} files, but ${domains} domains need about ${needed}`,
            hint: 'Raise LimitNOFILE of libvirtd.service, or ulimit -n before starting it.',
          }
        : ok('open files', `libvirtd may open ${openFiles}`),
    );
  }
  return checks;
}
