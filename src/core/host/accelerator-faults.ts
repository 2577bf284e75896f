import { CowherdError } from '../errors.js';

/**
 * Why a guest did not start: the accelerator itself (`kvm`: another CPU would not help), or the guest's CPU (`cpu`).
 * Only this table parses the messages of libvirt and QEMU for that.
 */
export type AcceleratorFault = 'kvm' | 'cpu';

const faults: Array<[AcceleratorFault, RegExp]> = [
  // QEMU 7.2, in accel/kvm.
  ['kvm', /Could not access KVM kernel module|failed to initialize kvm|kvm_init_vcpu failed|ioctl\(KVM_CREATE_\w+\) failed/i],
  // libvirt, if the module, its device or QEMU's support is missing.
  ['kvm', /KVM is not supported by|does not support virt(ualization)? type '?kvm|could not get preferred machine for .* type=kvm/i],
  // QEMU: the host's KVM does not support what it offered.
  ['cpu', /failed to (set|get) MSR 0x|kvm_buf_[sg]et_msrs/i],
  // libvirt, before it starts QEMU (check="partial") and after (check="full").
  ['cpu', /the CPU is incompatible with host CPU|guest CPU doesn't match specification|guest and host CPU are not compatible/i],
  ['cpu', /unsupported configuration:.*(\bCPU (mode|model|feature|specification)\b)/i],
  ['cpu', /Unknown CPU model|unable to find CPU model|CPU model '[^']*' requires|(host|TCG) doesn't support requested feature/i],
];

/** @param text as virsh prints it */
export function acceleratorFaultIn(text: string): AcceleratorFault | undefined {
  // QEMU warns of missing features and continues: the reason for the failure is in another line.
  const lines = text.split('\n').filter((line) => !/\bwarning: /.test(line));
  return faults.find(([, pattern]) => pattern.test(lines.join('\n')))?.[0];
}

/** @returns undefined for an unrelated error */
export function acceleratorFaultOf(error: unknown): AcceleratorFault | undefined {
  if (!(error instanceof CowherdError) || error.code !== 'ACCELERATOR_FAILED') return undefined;
  return acceleratorFaultIn([error.message, ...error.details].join('\n')) ?? 'cpu';
}

/** QEMU's own message, without the prefixes of libvirt and the timestamp. */
export function faultText(message: string): string {
  return message
    .replace(/^libvirt could not .*?: (internal error: )?/, '')
    .replace(/^(qemu unexpectedly closed the monitor|process exited while connecting to monitor)( \(vm='[^']*'\))?: /i, '')
    .replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z /, '')
    .replace(/^qemu-system-\w+: (error: )?/, '')
    .trim();
}

export const acceleratorHints: Record<AcceleratorFault, string> = {
  kvm: '"cowherd doctor" shows why guests cannot use KVM. To let cowherd choose what works: cowherd spawn FLEET --virt-type auto',
  cpu: 'This host cannot run guests with that CPU. "cowherd doctor --fresh" shows what it can run. Give the fleet another CPU (cowherd spawn FLEET --cpu x86-64-v2), or let cowherd choose the accelerator: --virt-type auto',
};
