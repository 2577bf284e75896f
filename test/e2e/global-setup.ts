import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** Path of the tiny Linux golden image. */
    tinyImage: string;
  }
}

/** Refuses to run on a libvirt that does not answer, instead of letting every test time out; builds the Linux guest once. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { exitCode, stderr } = await execa('virsh', ['-q', '-c', 'qemu:///system', 'uri'], { reject: false, timeout: 60_000 });
  if (exitCode !== 0) throw new Error(`libvirt does not answer; run scripts/setup.sh first: ${stderr}`);
  const scratch = await mkdtemp(join(tmpdir(), 'cwt-tiny-'));
  await chmod(scratch, 0o755);
  const image = join(scratch, 'tiny.qcow2');
  const build = fileURLToPath(new URL('../../examples/tiny-linux/build.sh', import.meta.url));
  const built = await execa('bash', [build, image], { reject: false, all: true });
  if (built.exitCode !== 0) {
    await rm(scratch, { recursive: true, force: true });
    throw new Error(`the tiny Linux image could not be built:\n${built.all}`);
  }
  await chmod(image, 0o644);
  project.provide('tinyImage', image);
  return () => rm(scratch, { recursive: true, force: true });
}
