import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { TestProject } from 'vitest/node';
import { questionOf } from '../../src/core/host/accelerator.js';
import { defaultDomainSpec } from '../../src/core/spec/spec.js';
import { openHost } from '../../src/host.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Path of the tiny Linux golden image. */
    tinyImage: string;
    /** What a probe of the accelerator came to, as a store remembers it; empty on a machine without KVM. */
    accelerator: string;
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
  project.provide('accelerator', await probeOnce());
  return () => rm(scratch, { recursive: true, force: true });
}

/** Each lab has a store of its own, and would find out the same again. */
async function probeOnce(): Promise<string> {
  const store = `/var/lib/libvirt/images/cwt-${randomBytes(3).toString('hex')}`;
  const host = await openHost({ connect: 'qemu:///system', store });
  try {
    await host.accelerator.choose(questionOf(defaultDomainSpec));
    // Nothing is remembered where there is no KVM to be tried.
    return await readFile(join(store, 'accelerator.json'), 'utf8').catch(() => '');
  } finally {
    await host.close();
    await rm(store, { recursive: true, force: true });
  }
}
