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
    /** Stored result of the accelerator probe; empty on a machine without KVM. */
    accelerator: string;
  }
}

/** Fails if libvirt does not answer, so that not every test times out; builds the Linux guest once. */
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

/** Each lab has a separate store and would otherwise repeat the probe. */
async function probeOnce(): Promise<string> {
  const store = `/var/lib/libvirt/images/cwt-${randomBytes(3).toString('hex')}`;
  const host = await openHost({ connect: 'qemu:///system', store });
  try {
    await host.accelerator.choose(questionOf(defaultDomainSpec));
    // Without KVM there is no result.
    return await readFile(join(store, 'accelerator.json'), 'utf8').catch(() => '');
  } finally {
    await host.close();
    await rm(store, { recursive: true, force: true });
  }
}
