import { execa } from 'execa';

/** Refuses to run on a libvirt that does not answer, instead of letting every test time out. */
export default async function setup(): Promise<void> {
  const { exitCode, stderr } = await execa('virsh', ['-q', '-c', 'qemu:///system', 'uri'], { reject: false, timeout: 60_000 });
  if (exitCode !== 0) throw new Error(`libvirt does not answer; run scripts/setup.sh first: ${stderr}`);
}
