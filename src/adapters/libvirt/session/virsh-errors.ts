import { CowherdError, type ErrorCode, fullDiskHint } from '../../../core/errors.js';
import { excerpt } from '../../../core/guest/text.js';
import { acceleratorFaultIn, acceleratorHints } from '../../../core/host/accelerator-faults.js';
import { missingFileHint } from '../missing-file.js';

/** Classifies virsh's messages. virsh exits 1 for everything and has no error codes; only this table parses its text. */

export type VirshFault =
  | 'domain not found'
  | 'already running'
  | 'not running'
  | 'no metadata'
  | 'network not found'
  | 'disconnected'
  | 'busy'
  | 'interrupted'
  | 'address taken'
  | 'address not found'
  | 'network active'
  | 'unknown option'
  | 'other';

const faults: Array<[VirshFault, RegExp]> = [
  ['domain not found', /failed to get domain|Domain not found|no domain with matching/i],
  ['network not found', /Network not found|failed to get network|no network with matching/i],
  ['already running', /domain is already (running|active)|Domain is already active/i],
  ['not running', /domain is not running/i],
  ['no metadata', /metadata not found|metadata element is not present|transient domains do not have any persistent config/i],
  [
    'disconnected',
    /Disconnected from|client socket is closed|closed due to keepalive timeout|received hangup event on socket|End of file while reading|Cannot (recv|write) data|failed to connect to the hypervisor|connect socket to '[^']*\/(libvirt|virtqemud)-sock/i,
  ],
  ['address taken', /there is an existing dhcp host entry in network/i],
  ['address not found', /couldn't locate a matching dhcp host entry/i],
  ['network active', /network is already active/i],
  // From virsh itself, before any other message.
  ['unknown option', /^command '\S+' doesn't support option --/i],
  ['busy', /cannot acquire state change lock/i],
  // The kernel stops verifying a BPF program when a signal reaches the loading thread, and libvirtd gets a signal for each child that
  // ends. libvirt does not retry. Source: Linux, kernel/bpf/verifier.c, do_check; libvirt, src/util/vircgroupv2devices.c
  ['interrupted', /failed to load cgroup BPF prog: (Resource temporarily unavailable|Interrupted system call)/i],
];

export function faultOf(error: string): VirshFault {
  const own = withoutGuestText(error);
  return faults.find(([, pattern]) => pattern.test(own))?.[0] ?? 'other';
}

/**
 * The part of a message that is libvirt's own: its messages end with quoted text of an agent that refuses, or whose reply it cannot parse.
 * A guest that wrote "End of file while reading data" would look like a lost connection.
 * Source: libvirt, src/qemu/qemu_agent.c, qemuAgentIOProcessLine and qemuAgentCheckError; src/util/virjson.c, which parses JSON with
 * another library and other messages in newer releases
 */
export function withoutGuestText(error: string): string {
  return error.replace(
    /(unable to execute QEMU agent command '[^']*': |cannot parse json |failed to parse JSON: |\b(?:Unknown|Parsed|Malformed) JSON reply )[\s\S]*/,
    '$1…',
  );
}

/** root has no session daemon: virsh connects to the system's. */
const notRunning = `libvirtd does not respond. Start it: sudo systemctl start libvirtd${process.getuid?.() === 0 ? '' : '. Or use your own daemon: --connect qemu:///session'}`;

const explanations: Array<{ pattern: RegExp; code: ErrorCode; hint: string }> = [
  {
    // Not that of libvirtd.
    pattern: /connect to monitor socket/i,
    code: 'TOOL_FAILED',
    hint: 'QEMU ended at once. Run the same command again; if it fails again, see the log of the domain in /var/log/libvirt/qemu.',
  },
  {
    pattern: /authentication unavailable|authentication failed|no polkit agent|polkit/i,
    code: 'CONNECTION_FAILED',
    hint: 'This user may not use the system daemon. Join the libvirt group (sudo usermod -aG libvirt $USER, then log in again), or use --connect qemu:///session.',
  },
  {
    pattern: /cannot acquire state change lock/i,
    code: 'TOOL_TIMEOUT',
    hint: 'Another call holds that domain, or its QEMU does not respond. "virsh domcontrol DOMAIN" shows which; then run the command again, or force the guest off: virsh destroy DOMAIN',
  },
  {
    pattern: /Failed to connect socket to '[^']*sock': Permission denied/i,
    code: 'CONNECTION_FAILED',
    hint: 'This user may not use the system daemon. Join the libvirt group (sudo usermod -aG libvirt $USER, then log in again), or use --connect qemu:///session.',
  },
  {
    pattern: /apparmor="DENIED"|AppArmor|virt-aa-helper/i,
    code: 'TOOL_FAILED',
    hint: 'AppArmor denied QEMU access to a file: "sudo dmesg | grep DENIED" shows which. Allow the store in /etc/apparmor.d/abstractions/libvirt-qemu (or local/…), or keep it below /var/lib/libvirt/images.',
  },
  {
    pattern: /SELinux(?!' is not available)|security context|setfilecon|getfilecon|avc: +denied|cannot set label|security label/i,
    code: 'TOOL_FAILED',
    hint: 'SELinux denied QEMU access to a file: "sudo ausearch -m avc -ts recent" shows which. Give the store its type: sudo semanage fcontext -a -t virt_image_t "STORE(/.*)?" && sudo restorecon -R STORE, or keep it below /var/lib/libvirt/images.',
  },
  {
    pattern: /Read-only file system/i,
    code: 'TOOL_FAILED',
    hint: 'The file system is read-only: remount it, or keep the store elsewhere with --store DIR.',
  },
  {
    pattern: /Too many open files/i,
    code: 'TOOL_FAILED',
    hint: 'libvirtd has reached its limit of open files. Raise LimitNOFILE of libvirtd.service; "cowherd doctor" shows the limit.',
  },
  {
    pattern: /Permission denied|Could not open .*: Operation not permitted/i,
    code: 'TOOL_FAILED',
    hint: 'QEMU runs as another user and cannot access that file. "cowherd doctor" shows which directory prevents it.',
  },
  {
    pattern: /No space left on device/i,
    code: 'TOOL_FAILED',
    hint: fullDiskHint,
  },
  {
    pattern: /Cannot allocate memory|cannot set up guest memory/i,
    code: 'TOOL_FAILED',
    hint: 'The host is out of memory for this guest. Start fewer guests, or give each less memory.',
  },
  {
    pattern: /swtpm/i,
    code: 'TOOL_FAILED',
    hint: 'The emulated TPM could not be created; its log says why. If it names /var/lib/swtpm-localca, root owns files there: sudo chown -R tss /var/lib/swtpm-localca',
  },
  {
    pattern: /write" lock|shared "write" lock/i,
    code: 'TOOL_FAILED',
    hint: 'Another process has the disk open. Two domains must not share one overlay.',
  },
  {
    pattern: /virtlogd-sock/,
    code: 'TOOL_FAILED',
    hint: 'virtlogd, which writes the console logs, is not running. Start it: sudo systemctl start virtlogd.socket',
  },
  {
    pattern: /network '.*' is not active/i,
    code: 'TOOL_FAILED',
    hint: 'Start the network first: virsh net-start NAME (and net-autostart NAME to keep it).',
  },
  {
    pattern: /Could not set up host forwarding rule/i,
    code: 'TOOL_FAILED',
    hint: 'Another process uses the port that is forwarded to this member. "cowherd spawn" assigns another one.',
  },
  { pattern: /Network not found/i, code: 'TOOL_FAILED', hint: 'List the networks with "virsh net-list --all".' },
  {
    pattern: /does not match the schema|failed to validate|XML document failed|^XML error:|^unsupported configuration:/im,
    code: 'BAD_TEMPLATE',
    hint: 'libvirt rejected the XML of the template. Start again from "cowherd template eject".',
  },
  {
    pattern: /already exists with uuid|already defined with uuid/i,
    code: 'FOREIGN_DOMAIN',
    hint: 'A domain with that name exists and does not belong to this fleet. Rename it, or choose another fleet name.',
  },
  {
    pattern:
      /Failed to connect socket|failed to connect to the hypervisor|Connection refused|Disconnected from|End of file while reading|client socket is closed|keepalive timeout|received hangup event|Cannot (recv|write) data/i,
    code: 'CONNECTION_FAILED',
    hint: notRunning,
  },
];

/** QEMU's messages begin with a timestamp in microseconds. */
const qemuTime = /\b\d{4}-\d\d-\d\dT[\d:.]+Z (?=qemu)/g;

/** The fleet of the member that the operation was for. */
function fleetIn(doing: string): string {
  return /^\w+ ([a-z0-9][a-z0-9-]*)-\d{3,}$/.exec(doing)?.[1] ?? 'FLEET';
}

/** Turns a virsh error into one with a code and a hint. @param doing e.g. `start lab-001` */
export function virshError(doing: string, error: string): CowherdError {
  const lines = error
    .split('\n')
    // Parts of it come from QEMU and guests.
    .map((line) => excerpt(line).replace(qemuTime, ''))
    .filter((line) => line !== '');
  // "Failed to start domain 'x'" repeats the operation; the reason is the last "error:" of the chain.
  const reason = lines.find((line) => !/^(Failed to|Requested operation is not valid$)/i.test(line)) ?? lines[0] ?? 'no reason given';
  const fault = acceleratorFaultIn(error);
  const lostFile = missingFileHint(error, /^\w+ (\S+)$/.exec(doing)?.[1] ?? 'DOMAIN');
  const explained =
    fault === undefined
      ? lostFile === undefined
        ? explanationOf(error)
        : { code: 'TOOL_FAILED' as const, hint: lostFile.replace('FLEET', fleetIn(doing)) }
      : { code: 'ACCELERATOR_FAILED' as const, hint: acceleratorHints[fault].replaceAll('FLEET', fleetIn(doing)) };
  return new CowherdError(explained?.code ?? 'TOOL_FAILED', `libvirt could not ${doing}: ${reason}`, {
    details: lines.filter((line) => line !== reason).slice(0, 6),
    ...(explained === undefined
      ? { hint: 'libvirtd\'s log may say more; "cowherd doctor" checks the usual causes.' }
      : { hint: explained.hint }),
  });
}

export function isTimeout(error: unknown): error is CowherdError {
  return error instanceof CowherdError && error.code === 'TOOL_TIMEOUT';
}

export function connectionError(uri: string, stderr: string): CowherdError {
  const error = virshError(`be reached at ${uri}`, stderr.replace(/^error: /gm, ''));
  return new CowherdError('CONNECTION_FAILED', error.message, { details: error.details, hint: connectionHint(stderr) });
}

/** @param text what virsh said when it could not connect, or lost its connection */
export function connectionHint(text: string): string {
  const known = explanationOf(text);
  return known?.code === 'CONNECTION_FAILED' ? known.hint : 'Is libvirtd running? "cowherd doctor" checks it.';
}

function explanationOf(text: string): (typeof explanations)[number] | undefined {
  return explanations.find(({ pattern }) => pattern.test(text));
}

/** For a domain whose QEMU does not respond, or that another call holds. The operation may still take place later. */
export function silentDomain(name: string, doing: string, cause: CowherdError): CowherdError {
  const message = cause.message.startsWith('libvirt could not') ? cause.message : `Could not ${doing}: ${cause.message}`;
  return new CowherdError('TOOL_TIMEOUT', message, {
    details: cause.details,
    hint: `Its QEMU may be stopped, or waiting for its disk: "virsh domcontrol ${name}" shows which. Run the same command again when it responds, or force the guest off: virsh destroy ${name}. COWHERD_LIBVIRT_TIMEOUT=5m waits longer.`,
    cause,
  });
}

/**
 * For a domain that libvirt considers starting and that cannot be stopped. libvirt 9.0: if killed between writing a domain's status file
 * and starting its QEMU, it reads that file (`pid='0'`) at its next start, with a start job that no thread will ever end.
 */
export function stuckStart(name: string, isSystem: boolean): CowherdError {
  const note = isSystem ? `/run/libvirt/qemu/${name}.xml` : `~/.cache/libvirt/qemu/run/${name}.xml`;
  return new CowherdError(
    'TOOL_FAILED',
    `libvirt reports that ${name} is starting up and cannot be stopped: was libvirtd killed during a start?`,
    {
      details: [
        `its status file is ${note}${isSystem ? '' : ' (or below $XDG_RUNTIME_DIR/libvirt)'}; pid='0' in it means that the guest has no QEMU`,
        'restarting libvirtd alone does not help: it reads that file again',
      ],
      hint: `If it has no QEMU (pgrep -f guest=${name},): stop libvirtd${isSystem ? '' : ' of this user'}, remove that status file, and run the command again${isSystem ? ' once libvirtd is running' : ''}. Its disks are untouched.`,
    },
  );
}
